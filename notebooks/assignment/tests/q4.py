from otter.test_files import test_case

OK_FORMAT = False

name = "q4"
points = 14

@test_case(points=4, hidden=False)
def test_means(env):
    from resnet_course.classroom import require
    from resnet_lib.records import summarize
    require(env, 'records', 'training_error')
    told = env['training_error']
    for row in summarize(env['records']):
        key = (row.shortcut, row.depth)
        assert key in told, f'training_error has no entry {key}; it has {list(told)}'
        mean = told[key][0]
        if abs(mean - row.train_error) >= 0.01 and abs(mean - row.test_error) < 0.01:
            raise AssertionError(f'training_error[{key}]: {mean:.2f} is a test error')
        assert abs(mean - row.train_error) < 0.01, f'training_error[{key}] says {mean:.2f} on average, but your records say {row.train_error:.2f}: compute it from the records, in percent'

@test_case(points=3, hidden=False)
def test_standard_deviations(env):
    import statistics
    from resnet_course.classroom import require
    from resnet_lib.records import group_runs
    require(env, 'records', 'training_error')
    for key, runs in group_runs(env['records']).items():
        errors = [run.train_error for run in runs]
        of_test = [run.test_error for run in runs]
        assert key in env['training_error'], f'training_error has no entry {key}'
        told = env['training_error'][key][1]
        right = [statistics.stdev(each) for each in (errors, of_test)]
        assert any((abs(told - std) < 0.01 for std in right)), f'training_error[{key}] says that the standard deviation is {told:.2f}, but that of {[round(e, 2) for e in errors]} is {right[0]:.2f}, with n - 1'

@test_case(points=3, hidden=False)
def test_figure_shows_the_means_or_the_runs(env):
    from resnet_course.classroom import look_at, require
    from resnet_lib.records import group_runs, summarize
    require(env, 'records', 'figure')
    shows = look_at(env['figure']).shows
    told = env.get('training_error')
    for row in summarize(env['records']):
        key = (row.shortcut, row.depth)
        runs = [run.train_error for run in group_runs(env['records'])[key]]
        own = [told[key][0]] if isinstance(told, dict) and key in told else []
        if shows(row.train_error) or shows(*runs) or (own and shows(*own)):
            continue
        network = f'shortcut {row.shortcut!r}, depth {row.depth}'
        wrong = shows(row.test_error)
        assert not wrong, f'{network}: the figure shows the test error'
        raise AssertionError(f"{network}: the figure shows neither the mean training error, {row.train_error:.2f} %, nor each run's")

@test_case(points=3, hidden=False)
def test_figure_shows_spread_and_names_its_axes(env):
    from resnet_course.classroom import look_at, require
    require(env, 'records', 'figure')
    drawing = look_at(env['figure'])
    every_run = any((drawing.shows(*(getattr(run, error) for run in env['records'])) for error in ('train_error', 'test_error')))
    spread = drawing.has_spread or every_run
    assert spread, 'show the spread: error bars, a band, or a mark for each run'
    named = any(('train' in label.lower() for label in drawing.labels))
    assert named, f'the upright axis must name the training error: {drawing.labels}'

@test_case(points=1, hidden=False)
def test_alt_text(env):
    from resnet_course.classroom import require
    require(env, 'alt_text')
    words = str(env['alt_text']).split()
    assert len(words) >= 8, f'say in a sentence what the figure shows, not: {words}'

