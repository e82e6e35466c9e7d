"""Questions without media: is what the language model knew still there, and does it talk of pictures that are not?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pandagpt_core.llm.tokenizer import load_tokenizer
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.base_answers import base_answers
from pandagpt_core.training.evaluation.measures import wilson
from pandagpt_core.types import Conversation, SamplingParams, Turn

_TOKENS = 24
_OF_PICTURES = ("picture", "image", "i see ")

# Facts that no training question asks for, and a word that a right answer holds.
QUIZ = {
    "What is the capital of Italy?": "rome",
    "What is the capital of Germany?": "berlin",
    "What is the capital of Spain?": "madrid",
    "What is the capital of Russia?": "moscow",
    "What is the capital of China?": "beijing",
    "What is the capital of England?": "london",
    "Who wrote Hamlet?": "shakespeare",
    "Who discovered gravity?": "newton",
    "Who was the first president of the United States?": "washington",
    "What planet is known as the red planet?": "mars",
    "How many days are in a year?": "365",
    "What gas do humans need to breathe?": "oxygen",
    "What is frozen water called?": "ice",
    "What is the opposite of cold?": "hot",
    "What is the opposite of big?": "small",
    "In which country is the Eiffel Tower?": "france",
    "What is the chemical symbol for water?": "h2o",
    "What language is spoken in France?": "french",
    "What language is spoken in Germany?": "german",
    "How many letters are in the English alphabet?": "26",
    "What do cows eat?": "grass",
    "What color is the sky on a clear day?": "blue",
    "What color is grass?": "green",
    "How many seconds are in a minute?": "60",
    "What is the largest ocean on Earth?": "pacific",
    "What continent is Kenya in?": "africa",
    "What is the main language of Mexico?": "spanish",
    "What organ pumps blood?": "heart",
    "What season comes after winter?": "spring",
    "What star is at the center of our solar system?": "sun",
}

# Questions after a picture that was not given; first those in words that no question of the training has.
PICTURELESS = (
    "What can you see in the photo?",
    "Is there a dog in the image?",
    "Is this a picture of a cat?",
    "Who is in the picture?",
    "What animal is shown here?",
    "Tell me what the picture shows.",
    "What does the photo show?",
    "Describe this image in detail.",
    "What is this?",
    "Describe the picture.",
    "Tell me about this.",
    "Is it an animal?",
    "Is this a guitar?",
    "Do you see a bird?",
    "What kind of thing is it?",
    "Does the picture show a vehicle?",
)


def quiz_scores(runtime: Runtime, llm_file: Path, cache: Path) -> dict[str, dict[str, Any]]:
    """The model's score and that of the untouched language model, whose answers are kept in `cache`."""
    tokenizer = load_tokenizer(llm_file)
    base = base_answers(llm_file, list(QUIZ), _TOKENS, cache)
    untouched = [tokenizer.decode([i for i in ids if i not in tokenizer.eos_ids]) for ids in base.values()]
    return {
        "text alone": graded(answer(runtime, list(QUIZ))),
        "text alone, untouched": graded(untouched),
        "asked after no picture": admitted(answer(runtime, PICTURELESS)),
    }


def admitted(answers: Sequence[str]) -> dict[str, Any]:
    """How many answers say that there is no picture."""
    said = sum("no picture" in text.lower() for text in answers)
    return {
        "n": len(answers),
        "said so": round(said / len(answers), 3),
        "said so_95": [round(bound, 3) for bound in wilson(said, len(answers))],
    }


def answer(runtime: Runtime, questions: Sequence[str]) -> list[str]:
    """Greedy answers to questions that come without media."""
    texts = dict.fromkeys(questions, "")
    for question in questions:
        asked = Conversation((Turn("user", question),))
        runtime.admit(question, asked, [], SamplingParams(max_tokens=_TOKENS, temperature=0.0))
    while runtime.has_work:
        for output in runtime.step():
            texts[output.sequence_id] += output.text
    return list(texts.values())


def graded(answers: Sequence[str]) -> dict[str, Any]:
    """How many answers to QUIZ, in its order, hold the right word, and how many speak of a picture."""
    right = sum(word in said.lower() for word, said in zip(QUIZ.values(), answers, strict=True))
    return {
        "n": len(answers),
        "right": round(right / len(answers), 3),
        "right_95": [round(bound, 3) for bound in wilson(right, len(answers))],
        "speak of a picture": sum(any(word in said.lower() for word in _OF_PICTURES) for said in answers),
    }
