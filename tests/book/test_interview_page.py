"""The interview's pages as a reader meets them: read without a script, and used by mouse and keyboard."""

import re
from types import SimpleNamespace

import pytest
from audit.links import Page
from interview import make_deck
from interview.questions import FILE, load
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


def test_an_answer_holds_its_links_code_mathematics_and_level(site):
    for name, part in (
        ("what-is-degradation", r'href="../../notebooks/01_degradation\.html#[\w-]+">1\.\d '),
        ("batchnorm-backward", "<math "),
        ("batchnorm-backward", r"<summary>Run: .*</summary>\s*<div class=.*highlight-python"),
        ("option-c-degrades", "deep, the book"),
    ):
        answer = text_of(site, "index").partition(f'id="{name}"')[2].partition('class="interview-question"')[0]
        assert re.search(part, answer), name


def test_the_mock_interview_takes_sixty_minutes_as_its_parts_say(site):
    text = (ROOT / "book" / "interview" / "mock.md").read_text(encoding="utf-8")
    parts = re.split(r"^## [\w-]+, (\d+) minutes$", text.partition("## Score")[0], flags=re.MULTILINE)[1:]
    said = [*map(int, parts[::2])]
    taken = [[*map(int, re.findall(r"\*\*(\d) min", part))] for part in parts[1::2]]
    assert said == [*map(sum, taken)] and sum(said) == 60
    rows = re.findall(r"^\| [\w-]+ \| (\d+) \| (\d+) \|", text, flags=re.MULTILINE)
    assert rows == [(str(len(part)), str(2 * len(part))) for part in taken]


def test_the_cheat_sheet_holds_the_values_of_the_checks(site):
    cells = re.findall(r"<p>([^<]*)</p></td>", text_of(site, "cheat_sheet").replace("\N{NO-BREAK SPACE}", " "))
    checks = [question["checks"] for question in QUESTIONS if "sheet" in question]
    shown = [[check for check in some if "label" in check] or some[:1] for some in checks]
    assert sorted(cells) == sorted(check["value"] for some in shown for check in some)


def test_a_broken_file_stops_the_build_with_its_line(tmp_path):
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text("topics: [", encoding="utf-8")
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


def test_search_finds_words_of_question_and_answer_and_tells_how_many(open_questions):
    page = open_questions()
    search = page.get_by_role("searchbox", name="Search", exact=True)
    search.fill("RAISES overfitting degradation")
    page.get_by_text(re.compile(rf"^\d of {len(QUESTIONS)} questions")).wait_for()
    assert "what-is-degradation" in shown(page) and len(shown(page)) < 10
    search.fill("no such word")
    assert shown(page) == []
    page.get_by_role("button", name="Show all").click()
    assert len(shown(page)) == len(QUESTIONS)


def test_topic_and_level_filter_and_the_address_keeps_them(open_questions):
    page = open_questions()
    page.get_by_label("Topic").select_option("Why depth failed")
    page.get_by_label("Level").select_option("deep")
    address = page.url.rpartition("index.html")[2]
    assert address == "?topic=depth&level=deep"
    for one in (page, open_questions(address)):
        assert shown(one) == [q["id"] for q in QUESTIONS if (q["topic"], q["level"]) == ("depth", "deep")]
        assert one.get_by_label("Topic").input_value() == "depth"
        assert one.locator(".bd-sidebar-secondary .toc-h2:visible").count() == 1
    page.get_by_role("button", name="Open all").click()
    assert is_open(page, shown(page)[0]) and not is_open(page, LAST["id"])  # it is hidden


def test_an_address_opens_its_question_even_if_a_filter_would_hide_it(open_questions):
    page = open_questions(f"?topic=depth#{LAST['id']}")
    assert is_open(page, LAST["id"]) and not is_open(page, QUESTIONS[0]["id"])
    assert len(shown(page)) == len(QUESTIONS)


def test_without_a_script_both_pages_are_complete_lists(open_questions, open_page):
    page = open_questions(java_script_enabled=False)
    assert page.locator("details.interview-question").count() == len(QUESTIONS)
    page.locator("#what-is-degradation summary").click()
    assert page.locator("#what-is-degradation .interview-short").is_visible()
    quiz = open_page("book/interview/quiz.html", java_script_enabled=False)
    assert quiz.locator("details.interview-quiz").count() == len(QUIZ)
    quiz.locator("summary").first.click()
    assert all(quiz.locator(f"details[open] li.{choice}").first.is_visible() for choice in ("right", "wrong"))


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
    first = words_of(card.locator("legend"))
    for place in range(len(TOPIC)):
        question = words_of(card.locator("legend"))
        option = RIGHT[question] if place else WRONG[question]["answer"]
        card.locator("label").nth([words_of(label) for label in card.locator("label").all()].index(option)).click()
        card.get_by_role("button", name="Check").click()
        if place:
            assert feedback.inner_text().startswith("Right. ")
        else:
            assert words_of(feedback).startswith("No. ") and WRONG[question]["why"][:30] in words_of(feedback)
            assert f"Right would be: {RIGHT[question]}" in words_of(feedback)
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


def test_the_quiz_is_as_it_was_after_a_reload_and_the_way_back(quiz):
    card = quiz.locator(".interview-card")
    quiz.keyboard.press("1")
    quiz.keyboard.press("Enter")
    before = card.inner_text()
    quiz.reload()
    assert card.inner_text() == before and card.locator(":checked").count() == 1
    card.get_by_role("link", name="The full answer").click()
    quiz.wait_for_url("**/index.html#*")
    quiz.go_back()
    assert card.inner_text() == before and quiz.get_by_label("Topic").input_value() == "The residual form"


def test_a_round_has_ten_questions_the_next_one_others_and_the_right_choice_no_place_of_its_own(open_page):
    page, asked = open_page("book/interview/quiz.html"), []
    for _ in range(4):
        asked += page.evaluate("""() => Array.from({ length: 10 }, () => {
            const card = document.querySelector(".interview-card");
            const question = card.querySelector("legend").innerText;
            card.querySelector("input").click();
            card.querySelector("[type=submit]").click();
            const place = [...card.querySelectorAll("label")].findIndex((label) => label.className === "right");
            card.querySelector("[type=submit]").click();
            return [question, place];
        })""")
        page.get_by_role("button", name="Next round").click()
    assert len({question for question, _ in asked}) == 40
    assert {0, 1, 2} <= {place for _, place in asked}


def test_the_cheat_sheet_is_one_page_of_paper(open_page):
    pdf = open_page("book/interview/cheat_sheet.html").pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
