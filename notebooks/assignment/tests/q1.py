from otter.test_files import test_case

OK_FORMAT = False

name = "q1"
points = 20

@test_case(points=4, hidden=False)
def test_shapes(env):
    import torch
    from resnet_course.classroom import require
    require(env, 'Block')
    for arguments, shape in [((8, 8), (2, 8, 6, 6)), ((8, 16, 2), (2, 16, 3, 3))]:
        out = env['Block'](*arguments)(torch.rand(2, 8, 6, 6))
        assert isinstance(out, torch.Tensor), 'forward must return the output'
        got = tuple(out.shape)
        assert got == shape, f'Block{arguments}: (2, 8, 6, 6) comes out as {got}'

@test_case(points=8, hidden=False)
def test_properties(env):
    from resnet_course.checks import check_basic_block
    from resnet_course.classroom import require
    require(env, 'Block')
    for module in env['Block'](4, 4).modules():
        for home in {base.__module__ for base in type(module).__mro__}:
            assert 'resnet' not in home, f'write Block yourself, without {home}'
    report = check_basic_block(env['Block'])
    assert report.ok, f'\n{report}'

