from otter.test_files import test_case

OK_FORMAT = False

name = "q6"
points = 6

@test_case(points=2, hidden=False)
def test_form(env):
    from resnet_course.classroom import require
    require(env, 'prediction')
    for shortcut, widest in [('none', 35), ('A', 10)]:
        low, high = env['prediction'][shortcut]
        assert 0 <= low <= high <= 100, f'{shortcut!r}: {low} to {high} is no range'
        assert high - low <= widest, f'{shortcut!r}: from {low} to {high} is wider than {widest} points'

