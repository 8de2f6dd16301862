from otter.test_files import test_case

OK_FORMAT = False

name = "q3"
points = 15

@test_case(points=4, hidden=False)
def test_recipes(env):
    from dataclasses import replace
    from resnet_course.classroom import require, restrict, variant
    from resnet_lib.datasets import load_dataset
    from resnet_lib.recipes import Recipe
    require(env, 'STUDENT_NUMBER', 'recipes')
    case, recipes = (variant(env['STUDENT_NUMBER']), env['recipes'])
    digits = restrict(load_dataset('digits'), case.classes)
    common = Recipe(digits.name, width=case.width)
    asked = {'depth': case.depths, 'seed': case.seeds, 'shortcut': ('none', 'A')}
    for name, values in asked.items():
        got = {getattr(recipe, name) for recipe in recipes}
        assert got == set(values), f'the {name}s must be {values}, got {sorted(got)}'
    for recipe in recipes:
        own = {name: getattr(recipe, name) for name in asked}
        assert recipe == replace(common, **own), f'not the settings asked for: {recipe}'
    count = len(set(recipes))
    assert count == len(recipes) == 12, f'12 different runs are asked for, got {count}'

@test_case(points=4, hidden=False)
def test_records(env):
    from resnet_course.classroom import require
    require(env, 'recipes', 'records')
    trained = [run.recipe for run in env['records']]
    lacking = [recipe.name for recipe in env['recipes'] if recipe not in trained]
    assert not lacking, f'records has no run of {lacking[0]}: make it by run_grid'
    twice = len(trained) - len(set(trained))
    assert not twice, f'records has {twice} runs twice'

@test_case(points=7, hidden=False)
def test_records_are_measured(env):
    from resnet_course.classroom import require, require_measured, restrict, variant
    from resnet_lib.datasets import load_dataset
    require(env, 'STUDENT_NUMBER', 'records')
    case = variant(env['STUDENT_NUMBER'])
    digits = restrict(load_dataset('digits'), case.classes)
    require_measured(env['records'], digits)

