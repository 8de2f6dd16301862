"""The interview's pages as a reader meets them: read without a script, and used by mouse and keyboard."""

import re
from types import SimpleNamespace

import pytest
from audit.links import Page
from interview import make_deck
from interview.questions import load
from notebook_files import ROOT
from sphinx.errors import ExtensionError

QUESTIONS = load(ROOT).questions
QUIZ = [question for question in QUESTIONS if "choice" in question]
LAST = QUESTIONS[-1]  # of the last topic


def text_of(site, page: str) -> str:
    return (site / "book" / "interview" / f"{page}.html").read_text(encoding="utf-8")


# --- Without a browser


def test_every_question_has_its_anchor_its_place_in_the_search_and_its_card(site):
    page = Page(site / "book" / "interview" / "index.html")
    assert {question["id"] for question in QUESTIONS} <= page.ids
    assert [link for link in page.links if link.endswith("resnet-interview.apkg")]
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert re.search(r'"What is the degradation problem\?": \[\[\d+, "what-is-degradation"\]\]', index)


def test_an_answer_holds_its_links_code_and_mathematics(site):
    def answer(name: str) -> str:
        return text_of(site, "index").partition(f'id="{name}"')[2].partition('class="interview-question"')[0]

    assert re.search(r'href="../../notebooks/01_degradation\.html#[\w-]+">1\.\d ', answer("what-is-degradation"))
    assert "<math " in answer("batchnorm-backward")
    assert re.search(r"<summary>Run: .*</summary>\s*<div class=.*highlight-python", answer("batchnorm-backward"))
    assert "deep, the book" in answer("option-c-degrades")


def test_the_mock_interview_takes_sixty_minutes_as_its_parts_say(site):
    text = (ROOT / "book" / "interview" / "mock.md").read_text(encoding="utf-8")
    parts = re.split(r"^## [\w-]+, (\d+) minutes$", text.partition("## Score")[0], flags=re.MULTILINE)[1:]
    said, taken = (
        [*map(int, parts[::2])],
        [[int(minutes) for minutes in re.findall(r"\*\*(\d) min", part)] for part in parts[1::2]],
    )
    assert said == [*map(sum, taken)] and sum(said) == 60
    rows = re.findall(r"^\| [\w-]+ \| (\d+) \| (\d+) \|", text, flags=re.MULTILINE)
    assert rows == [(str(len(part)), str(2 * len(part))) for part in taken]
    assert text_of(site, "mock").count('href="index.html#') == sum(map(len, taken))


def test_the_cheat_sheet_holds_the_values_of_the_checks(site):
    cells = re.findall(r"<p>([^<]*)</p></td>", text_of(site, "cheat_sheet").replace("\N{NO-BREAK SPACE}", " "))
    checks = [question["checks"] for question in QUESTIONS if "sheet" in question]
    shown = [[check for check in some if "label" in check] or some[:1] for some in checks]
    assert sorted(cells) == sorted(check["value"] for some in shown for check in some)


def test_a_broken_file_stops_the_build_with_its_line(tmp_path):
    folder = tmp_path / "book" / "interview"
    folder.mkdir(parents=True)
    (folder / "questions.yml").write_text("topics: [", encoding="utf-8")
    with pytest.raises(ExtensionError, match=r"questions\.yml, line 1: "):
        make_deck(SimpleNamespace(srcdir=tmp_path))


# --- In a browser


@pytest.fixture
def open_questions(open_page):
    """Open the page of all questions with a query or an anchor."""
    return lambda address="", **options: open_page(f"book/interview/index.html{address}", **options)


def shown(page) -> list[str]:
    """The questions in sight."""
    return page.eval_on_selector_all("details.interview-question:not([hidden])", "all => all.map(one => one.id)")


def is_open(page, name: str) -> bool:
    return page.evaluate(f"document.getElementById({name!r}).open")


def ids_of(**values: str) -> list[str]:
    return [question["id"] for question in QUESTIONS if values.items() <= question.items()]


def test_search_finds_words_of_question_and_answer_and_tells_how_many(open_questions):
    page = open_questions()
    status = page.locator(".interview-tools [role=status]")
    assert status.inner_text() == f"{len(QUESTIONS)} questions"
    page.get_by_role("searchbox", name="Search", exact=True).press_sequentially("RAISES overfitting degradation")
    page.wait_for_function("document.querySelectorAll('details.interview-question:not([hidden])').length < 10")
    found = shown(page)
    assert "what-is-degradation" in found
    assert status.inner_text() == f"{len(found)} of {len(QUESTIONS)} questions"
    page.get_by_role("searchbox", name="Search", exact=True).fill("no such word")
    assert shown(page) == []
    page.get_by_role("button", name="Show all").click()
    assert len(shown(page)) == len(QUESTIONS)
    assert not page.get_by_role("button", name="Show all").is_visible()


def test_topic_and_level_filter_and_the_address_keeps_them(open_questions):
    page = open_questions()
    page.get_by_label("Topic").select_option("Why depth failed")
    assert shown(page) == ids_of(topic="depth")
    assert not page.locator("#topic-bottleneck").is_visible()
    contents = page.locator(".bd-sidebar-secondary .toc-h2:visible")
    assert [entry.split("\n")[0] for entry in contents.all_inner_texts()] == ["Why depth failed"]
    page.get_by_label("Level").select_option("deep")
    assert shown(page) == ids_of(topic="depth", level="deep")
    address = page.url.rpartition("index.html")[2]
    assert address == "?topic=depth&level=deep"
    again = open_questions(address)
    assert shown(again) == ids_of(topic="depth", level="deep")
    assert again.get_by_label("Topic").input_value() == "depth"


def test_an_address_opens_its_question_even_if_a_filter_would_hide_it(open_questions):
    page = open_questions(f"?topic=depth#{LAST['id']}")
    assert is_open(page, LAST["id"]) and not is_open(page, QUESTIONS[0]["id"])
    assert len(shown(page)) == len(QUESTIONS)


def test_answers_open_and_close_one_by_one_and_all_at_once(open_questions):
    page, name = open_questions("?topic=depth"), QUESTIONS[0]["id"]
    page.get_by_role("button", name="Open all").click()
    assert is_open(page, name) and not is_open(page, LAST["id"])  # it is hidden
    page.get_by_role("button", name="Close all").click()
    page.locator(f"#{name} summary").first.press("Enter")
    assert is_open(page, name)


def test_without_a_script_both_pages_are_complete_lists(open_questions, open_page):
    page = open_questions(java_script_enabled=False)
    assert page.locator("details.interview-question").count() == len(QUESTIONS)
    assert page.locator(".interview-tools").count() == 0
    page.locator("#what-is-degradation summary").click()
    assert page.locator("#what-is-degradation .interview-short").is_visible()
    quiz = open_page("book/interview/quiz.html", java_script_enabled=False)
    assert quiz.locator("details.interview-quiz").count() == len(QUIZ)
    assert quiz.locator(".interview-game").count() == 0
    quiz.locator("summary").first.click()
    for choice in ("right", "wrong"):
        assert quiz.locator(f"details[open] li.{choice}").first.is_visible()


TOPIC = [question for question in QUIZ if question["topic"] == "residual"]
RIGHT = {question["question"]: question["choice"] for question in TOPIC}
WRONG = {question["question"]: question["wrong"][0] for question in TOPIC}


@pytest.fixture
def quiz(open_page):
    """The quiz on one topic, whose texts have no markup."""
    page = open_page("book/interview/quiz.html")
    page.get_by_label("Topic").select_option(f"The residual form ({len(TOPIC)})")
    return page


def words_of(locator) -> str:
    """What stands there, as the questions' file writes it."""
    return locator.inner_text().replace("\u2019", "'")


def test_the_quiz_by_mouse_tells_why_and_repeats_what_was_missed(quiz):
    card, feedback = quiz.locator(".interview-card"), quiz.locator(".interview-feedback")
    quiz.get_by_role("button", name="Check").click()
    assert feedback.inner_text() == ""  # it waits for a choice
    first = words_of(card.locator("legend"))
    for place in range(len(TOPIC)):
        question = words_of(card.locator("legend"))
        labels = card.locator("label")
        option = WRONG[question]["answer"] if place == 0 else RIGHT[question]
        texts = [words_of(label) for label in labels.all()]
        labels.nth(texts.index(option)).click()
        card.get_by_role("button", name="Check").click()
        if place == 0:
            assert words_of(feedback).startswith("No. ") and WRONG[question]["why"][:30] in words_of(feedback)
            assert f"Right would be: {RIGHT[question]}" in words_of(feedback)
            assert words_of(card.locator("label.right")).startswith(RIGHT[question])
        else:
            assert feedback.inner_text().startswith("Right. ")
            assert f"Question {place + 1} of {len(TOPIC)} · {place} right" in card.inner_text()
        card.get_by_role("button", name=re.compile("Next question|See the score")).click()
    assert f"You had {len(TOPIC) - 1} of {len(TOPIC)} right." in card.inner_text()
    card.get_by_role("button", name="Again the ones I missed").click()
    assert words_of(card.locator("legend")) == first and "Question 1 of 1 · 0 right" in card.inner_text()


def test_the_quiz_by_keyboard_alone(quiz):
    card = quiz.locator(".interview-card")
    for _ in TOPIC:
        texts = [words_of(label) for label in card.locator("label").all()]
        quiz.keyboard.press(str(texts.index(RIGHT[words_of(card.locator("legend"))]) + 1))
        quiz.keyboard.press("Enter")  # check
        assert quiz.locator(".interview-feedback").inner_text().startswith("Right. ")
        quiz.keyboard.press("Enter")  # go on
    assert quiz.evaluate("document.activeElement.innerText") == f"You had {len(TOPIC)} of {len(TOPIC)} right."
    quiz.keyboard.press("Tab")
    quiz.keyboard.press("Enter")  # all again
    assert f"Question 1 of {len(TOPIC)} · 0 right" in card.inner_text()
    quiz.get_by_label("Topic").focus()
    quiz.keyboard.press("1")  # which is the list's, not the card's
    assert card.locator(":checked").count() == 0


def test_the_quiz_is_as_it_was_after_a_reload_and_the_way_back(quiz):
    card = quiz.locator(".interview-card")
    for key in "12":
        quiz.keyboard.press(key)
        quiz.keyboard.press("Enter")
        before = card.inner_text()
        quiz.reload()
        assert card.inner_text() == before and card.locator(":checked").count() == 1
        card.get_by_role("link", name="The full answer").click()
        quiz.wait_for_url("**/index.html#*")
        quiz.go_back()
        assert card.inner_text() == before and quiz.get_by_label("Topic").input_value() == "The residual form"
        card.get_by_role("button", name="Next question").click()


def test_a_round_has_ten_questions_the_next_one_others_and_the_right_choice_no_place_of_its_own(open_page):
    page = open_page("book/interview/quiz.html")
    answer_ten = """() => Array.from({ length: 10 }, () => {
        const card = document.querySelector(".interview-card");
        const question = card.querySelector("legend").innerText;
        card.querySelector("input").click();
        card.querySelector("[type=submit]").click();
        const labels = [...card.querySelectorAll("label")];
        const place = labels.findIndex((label) => label.className === "right");
        card.querySelector("[type=submit]").click();
        return [question, place];
    })"""
    asked = page.evaluate(answer_ten)
    for _ in range(3):
        page.get_by_role("button", name="Next round").click()
        asked += page.evaluate(answer_ten)
    assert len({question for question, _ in asked}) == 40
    assert {0, 1, 2} <= {place for _, place in asked}


@pytest.mark.parametrize("width", [360, 1000])
def test_the_questions_do_not_jump_when_the_search_comes(open_questions, width):
    shifts = """new Promise((done) => {
      const observer = new PerformanceObserver(() => {});
      observer.observe({ type: "layout-shift", buffered: true });
      requestAnimationFrame(() => requestAnimationFrame(() =>
        done(observer.takeRecords().reduce((sum, entry) => sum + entry.value, 0))));
    })"""
    assert open_questions(width=width).evaluate(shifts) < 0.01


def test_the_cheat_sheet_is_one_page_of_paper(open_page):
    pdf = open_page("book/interview/cheat_sheet.html").pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
