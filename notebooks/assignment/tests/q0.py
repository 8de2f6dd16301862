from otter.test_files import test_case

OK_FORMAT = False

name = "q0"
points = 0

@test_case(points=0, hidden=False)
def test_number(env):
    from resnet_course.classroom import require, variant
    require(env, 'STUDENT_NUMBER')
    try:
        variant(env['STUDENT_NUMBER'])
    except ValueError as error:
        raise AssertionError(f'write your number, without quotes: {error}') from None

