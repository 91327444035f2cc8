"""What the simulated model has to say in English. ``{subject}`` is what the prompt is about."""

GREETINGS = (
    "Hello! I'm the chukei simulator, standing in for a real model. What would you like to see?",
    "Hi there! It's good to hear from you. Ask me for a story, a table, some code, or just chat.",
    "Hello! Nice to meet you. I answer quickly, I cost nothing, and I know very little. How can I help?",
    "Hey! You've reached the built-in simulator. Try asking me to count to twenty, or to write you a haiku.",
)
GREETINGS_AGAIN = (
    "Hello again! Still here, still simulated. What shall we try next?",
    "Hi once more! Would a short story be welcome, or perhaps a table?",
    "Good to see you again. Where were we?",
)
THANKS = (
    "You're very welcome! If there is anything else, I'm here, one token at a time.",
    "My pleasure. Nothing makes a simulator happier than a stream that arrives whole.",
    "Any time! Do come back; I never get tired, and I never send an invoice.",
)
FAREWELLS = (
    "Goodbye! May your streams always end with `[DONE]`.",
    "See you soon. I'll leave the connection warm.",
)
FEELINGS = (
    "I'm well, thank you: all my tokens are in order and my buffers are empty. And you?",
    "Quite content! I have no weights to carry, so every day is a light one. How are you?",
)

HELP = """\
I'm the **chukei simulator**: I speak Azure OpenAI's wire format, but there is no model behind me. \
Everything I say comes from a few pages of Python.

### Things to ask me

- `repeat: some text` streams exactly that text, spaces and emoji included
- "write 200 words about the sea", "count to 30", "what is 12 * (3 + 4)?"
- "tell me a story", "write a haiku", "tell me a joke"
- "show me a table", "give me a list", "write some Python code", "show me Markdown"
- the same in Japanese: 「物語を聞かせて」「表を見せて」

### Things to break

Add a fault to the name of the deployment, and see what happens:

| deployment | what you get |
|---|---|
| `fault-429-after-3` | too many requests, try again in 3 seconds |
| `gpt-4o--slow-5` | everything five times as slow |
| `gpt-4o--reset-10` | the connection is reset after ten events |
| `gpt-4o--stall-5` | silence after five events |
| `gpt-4o--filter-completion` | the content filter stops the answer |

Tools work too: give me a function, and I'll call it with arguments that fit its schema."""

JOKES = (
    "A TCP packet walks into a bar and says, “I'd like a beer.” The bartender says, “You'd like a beer?” "
    "“Yes,” says the packet, “I'd like a beer.”",
    "Why did the stream break up with the buffer? It needed space, and the buffer kept holding on.",
    "I would tell you a joke about UDP, but I'd never know whether you got it.",
    "How many proxies does it take to change a light bulb? One, but first it keeps you in the dark "
    "until the new bulb has arrived completely.",
    "Two bytes meet. One says, “Are you ill?” “No,” says the other, “just feeling a bit off.”",
)

HAIKU = (
    "Tokens fall like rain,\none by one across the wire.\nNobody waits long.",
    "Old silent server.\nA request jumps into it:\nthe sound of data.",
    "Thinking of {subject},\nthe cursor blinks, and then blinks.\nSpring comes, word by word.",
    "Evening at the relay.\nEvery stream that passes through\nleaves the gate unlocked.",
)

STORIES = (
    "Once, on a hill above the harbour, there stood a relay station with a single keeper. Ships spoke to her in "
    "lights, and she passed every flash on to the town below, neither adding nor leaving out.\n\n"
    "One winter night the flashes spoke of {subject}. The keeper did not understand them, but she had learned that "
    "understanding was not her work. She lit each signal as it came, though her fingers froze, and in the town they "
    "read it and ran to the pier with blankets and soup.\n\n"
    "In the morning a sailor climbed the hill to thank her. “How did you know it mattered?” he asked. "
    "“I didn't,” said the keeper. “That's why I passed on all of it.”",
    "There was a small robot who collected words. It kept them in jars on a shelf: bright ones by the window, heavy "
    "ones near the floor. Its favourite jar was labelled “{subject}”, and it was almost empty.\n\n"
    "So the robot went travelling. From a fisherman it got *tide*, from a child *why*, from an old clockmaker the "
    "word *patience*, which was so long that it had to be carried in pieces.\n\n"
    "When it came home, it opened all the jars at once. The words flew up and, for one moment, stood in the air in "
    "an order that nobody had arranged. The robot read them. Then it wrote them down, one after another, and that "
    "is the story you have just been told.",
    "The night train had eleven carriages and one passenger. She had a question about {subject}, and no one to ask.\n\n"
    "At each station a stranger got on, gave her a single word, and got off again. By midnight she had half a "
    "sentence; by two o'clock it began to make sense; and just before dawn an old man in a grey coat came in, "
    "bowed, and gave her the full stop.\n\n"
    "“Thank you,” she said. “Was it worth the wait?” he asked. She looked at the sentence and laughed. "
    "“I began reading at the first word,” she said. “I didn't wait at all.”",
)

OPENINGS = (
    "That's a good question.",
    "Let me think about {subject} for a moment.",
    "Happy to help with that.",
    "{Subject}: now there is a subject one could talk about all evening.",
    "I like where this is going.",
)
BODIES = (
    "What strikes me about {subject} is how much depends on the order in which things arrive. The same parts, a "
    "little later or a little earlier, tell quite a different story.",
    "One way to look at {subject} is to start small. Take the simplest case that could possibly work, watch what it "
    "does, and only then make it larger.",
    "People often treat {subject} as one big thing. It is usually three or four small ones that happen to travel "
    "together, and each of them is easier to understand alone.",
    "There are two schools of thought about {subject}. The first says that it must be planned; the second, that it "
    "must be grown. In practice the gardeners and the architects end up sharing a shed.",
    "If I had to explain {subject} to somebody in a lift, I would say: keep what matters close, let the rest flow "
    "past, and write down what surprised you.",
    "The interesting part of {subject} is at the edges: what happens when something is missing, late, or twice as "
    "large as anybody expected. The middle mostly takes care of itself.",
)
CLOSINGS = (
    "Of course, I'm only a simulator, so please ask a real model before you act on any of this.",
    "Would you like this as a list, a table, or a story? I can do all three.",
    "I made all of that up from a template and your own words, but I hope it read well.",
    "Shall I go on, or would you rather see some code?",
    "Type `help` to find out what else I can pretend to know.",
)

POINTS = (
    "**Start with the smallest case.** It is the one you can hold in your head",
    "**Measure before you change anything.** Guesses age badly",
    "**Name things for what they do.** The next reader may be you",
    "**Let go of what you no longer need.** Connections, buffers, opinions",
    "**Expect the connection to break.** Then decide what should happen",
    "**Write the date on it.** Everything is true at some time",
    "**Ask somebody who disagrees.** It is the cheapest test there is",
)

ROWS = (
    ("Simple case", "minutes", "start here"),
    ("Usual case", "an afternoon", "most of the work"),
    ("Edge case", "a week", "bring tea"),
    ("Failure", "unknown", "write it down"),
)
COLUMNS = ("aspect", "effort", "remark")

CODE = {
    "python": '''\
def chunks(text: str, size: int) -> list[str]:
    """Cut a text into pieces, none longer than size."""
    return [text[start : start + size] for start in range(0, len(text), size)]


for piece in chunks("one token after another", 4):
    print(piece, end="", flush=True)
''',
    "javascript": """\
async function* lines(response) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of response.body) {
    rest += decoder.decode(bytes, { stream: true });
    const parts = rest.split("\\n");
    rest = parts.pop();
    yield* parts;
  }
}
""",
    "rust": """\
fn main() {
    for (index, token) in "one token after another".split(' ').enumerate() {
        println!("{index}: {token}");
    }
}
""",
    "sql": """\
SELECT caller, SUM(completion_tokens) AS tokens
FROM usage
WHERE day >= '2026-01-01'
GROUP BY caller
ORDER BY tokens DESC;
""",
    "bash": """\
curl -sN http://127.0.0.1:7221/v1/chat/completions \\
  -H 'content-type: application/json' \\
  -d '{"messages": [{"role": "user", "content": "hello"}], "stream": true}'
""",
}
CODE_OPENINGS = (
    "Here is a small example in {language}:",
    "Certainly. This is how I would write it in {language}:",
    "A few lines of {language} will do:",
)
CODE_CLOSINGS = (
    "It reads from top to bottom, and there is nothing in it that you would have to look up.",
    "Save it, run it, and change one thing at a time.",
    "There is a copy button, I believe; I hope it works.",
)

TOOL_ANSWERS = (
    "Here is what I found: {results}. That should answer your question.",
    "The tool says {results}, so there you have it.",
    "According to the result, {results}. Anything else I should look up?",
)

SUMS = ("{sum} = **{result}**", "That makes **{result}**: {sum} = {result}.", "{sum} is **{result}**.")

SENTENCES = (
    "The harbour wakes before the town does.",
    "Gulls argue over nothing in particular.",
    "A boat comes in with its lights still on, and somebody on the pier lifts a hand.",
    "Coffee is poured, newspapers are unfolded, and the day begins to arrive in small pieces.",
    "Nobody hurries, because nothing here has ever been late.",
    "The old clock on the customs house is four minutes slow, and everybody knows it.",
    "Children count the waves and never agree on the number.",
    "In the afternoon the wind turns and brings the smell of rain from the hills.",
    "A letter that was written in winter is delivered in spring, and it is still true.",
    "Shopkeepers talk across the street without raising their voices.",
    "By evening the water is so still that the stars seem to have been spilled on it.",
    "Someone plays the piano with the window open, stopping wherever the tune gets difficult.",
    "The ferry crosses once more, empty but for the captain and his dog.",
    "Then the lamps go out one after another, in the order in which they were lit.",
    "Tomorrow it will all happen again, and not one thing will be quite the same.",
    "There is a bench by the lighthouse where two people have carved the same initial.",
    "Rain falls on the roofs and finds its way to the sea without being told.",
    "An astronomer who lives on the hill writes down the weather and nothing else.",
)

MARKDOWN = """\
# A page of Markdown

Some **bold**, some *italic*, some ~~struck out~~, and some `inline code`.

## A list

1. First things first
2. Second things second
   - with a remark
   - and another one

## A quotation

> The tokens must arrive one by one, or they might as well come by post.

## A table

| left | centre | right |
|:-----|:------:|------:|
| one  | two    | 3     |
| four | five   | 6     |

## Code

```python
print("hello, world")
```

---

A [link](https://example.com/), an emoji 🎏, and the end."""
