from otter.test_files import test_case

OK_FORMAT = False

name = "q2"
points = 15

@test_case(points=3, hidden=False)
def test_block(env):
    from resnet_course.classroom import require
    from resnet_lib import BasicBlock
    require(env, 'block_parameters')
    for arguments in [(8, 8), (8, 16, 2)]:
        block = BasicBlock(*arguments)
        right = sum((parameter.numel() for parameter in block.parameters()))
        got = env['block_parameters'](*arguments)
        assert got == right, f'block_parameters{arguments} is {got}, not {right}'

@test_case(points=4, hidden=False)
def test_network(env):
    from resnet_course.classroom import require
    from resnet_lib import cifar_resnet
    require(env, 'network_parameters')
    network = cifar_resnet(8, 'A', width=4, in_channels=1)
    right = sum((parameter.numel() for parameter in network.parameters()))
    got = env['network_parameters'](8, 4, 10)
    assert got == right, f'network_parameters(8, 4, 10) is {got}, not {right}'

