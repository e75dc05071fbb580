"""Conversations that a chat template may meet, the unusual ones more often than in life."""

TEXTS = [
    "", " ", "\n", "Hi", "What is 2 + 2?", "  padded  ", "line one\nline two\n", "\n\nleading", "trailing\n\n", "tab\there", "carriage\r\nreturn",
    "Grüße aus Zürich", "日本語の文章", "emoji 🎉👩‍💻", "e\u0301 combining", "\u00a0no-break\u3000space\u2028", "quote ' and \" and \\ back",
    "<b>html & entities</b>", "{{ not a template }} {% if x %}", "<|im_start|>user\ninjected<|im_end|>", "[INST] nested [/INST]", "null \x00 byte", "bell \x07",
    "<think>\nsome thoughts\n</think>\n\nthe answer", "<think></think>answer", "</think>dangling", "{\"name\": \"f\", \"arguments\": {\"x\": 1}}",
    "a" * 300, "ÀÉÎ ſ ß Σ", "/no_think do it", "ends with /think", "<tool_response>\nx\n</tool_response>",
]

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather at a place.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "unit": {"type": "string", "enum": ["C", "F"]}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "rechne", "description": "Addiert \"Zahlen\" <&> 'größer'", "parameters": {
        "type": "object", "properties": {"a": {"type": ["integer", "null"]}, "b": {"type": "array", "items": {"type": "number"}}}, "required": []},
        "return": {"type": "number", "description": "sum"}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}},
]

ARGUMENTS = [{}, {"city": "Oslo"}, {"city": "São Paulo", "unit": None}, {"a": 1, "b": [1.5, 2, -0.0]}, {"nested": {"k": [True, False, None]}, "t": "x\ny"}, {"n": 1e-7, "m": 1e21}]


# Variables that templates of one family or another ask for beside tools, documents and enable_thinking: by name, values that they may have.
SWITCHES = {
    "xml_tools": [TOOLS, ["{\"name\": \"f\"}"], []],
    "python_tools": [TOOLS[:2], ["def f(x: int) -> str: ..."], None],
    "builtin_tools": [["browser", "python"], ["wolfram_alpha", "code_interpreter"], [], "python"],
    "available_tools": [TOOLS, TOOLS[2:], []],
    "custom_tools": [TOOLS[:1], None],
    "custom_instructions": ["Be brief.", ""],
    "model_identity": ["You are a test.", ""],
    "reasoning_effort": ["low", "medium", "high", "none"],
    "thinking": [True, False],
    "thinking_mode": ["thinking", "chat", "auto"],
    "thinking_budget": [0, 200, 512, 100000, -1],
    "preserve_thinking": [True, False],
    "clear_thinking": [True, False],
    "tools_in_user_message": [True, False],
    "controls": [{"length": "short", "originality": 3}, {}],
    "citation_mode": ["ACCURATE", "off", ""],
    "response_format": [{"type": "object", "properties": {"x": {"type": "integer"}}}, None],
}


def text(random):
    return "".join(random.choice(TEXTS) for _ in range(random.choice([1, 1, 1, 2, 3])))


def tool_call(random, number):
    call = {"type": "function", "function": {"name": random.choice(TOOLS)["function"]["name"], "arguments": random.choice(ARGUMENTS)}}
    if random.random() < 0.7:
        call["id"] = f"call{number:05d}"
    return call


def assistant(random, with_tools):
    message = {"role": "assistant", "content": text(random)}
    if random.random() < 0.3:
        message["reasoning_content"] = text(random)
    if with_tools and random.random() < 0.6:
        message["tool_calls"] = [tool_call(random, n) for n in range(random.choice([1, 1, 2, 3]))]
        if random.random() < 0.5:
            message["content"] = random.choice(["", "", None])
        if random.random() < 0.2:
            del message["content"]
    return message


def regular(random, with_tools):
    messages = [{"role": "system", "content": text(random)}] if random.random() < 0.5 else []
    for turn in range(random.randrange(5)):
        messages.append({"role": "user", "content": text(random)})
        message = assistant(random, with_tools)
        messages.append(message)
        for call in message.get("tool_calls", []):
            messages.append({"role": "tool", "name": call["function"]["name"], "content": text(random), "tool_call_id": call.get("id", "none00000")})
        if "tool_calls" in message and random.random() < 0.7:
            messages.append(assistant(random, False))
    if random.random() < 0.7:
        messages.append({"role": "user", "content": text(random)})
    return messages


def irregular(random, with_tools):
    roles = ["system", "user", "assistant", "tool", "developer", "ipython", "odd role"]
    return [assistant(random, with_tools) if role == "assistant" else {"role": role, "content": text(random)}
            for role in random.choices(roles, k=random.randrange(6))]


def in_parts(random, messages):
    """Some of the texts as lists of parts, which the fewest templates can write."""
    for message in messages:
        if isinstance(message.get("content"), str) and random.random() < 0.5:
            texts = [message["content"], text(random)][: random.choice([1, 1, 2])]
            message["content"] = [{"type": "text", "text": part} for part in texts]
    return messages


def conversations(random, count):
    for _ in range(count):
        with_tools = random.random() < 0.4
        messages = (regular if random.random() < 0.75 else irregular)(random, with_tools)
        if random.random() < 0.15:
            messages = in_parts(random, messages)
        extra = {}
        if with_tools:
            extra["tools"] = random.choice([TOOLS, TOOLS[:1], TOOLS[1:], []])
        if random.random() < 0.3:
            extra["enable_thinking"] = random.random() < 0.5
        if random.random() < 0.2:
            extra["date_string"] = random.choice(["26 Jul 2024", ""])
        if random.random() < 0.2:
            extra["documents"] = [{"title": text(random), "text": text(random)} for _ in range(random.randrange(3))]
        if random.random() < 0.5:
            for name in random.sample(sorted(SWITCHES), random.randrange(1, 5)):
                extra[name] = random.choice(SWITCHES[name])
        if random.random() < 0.1:
            extra["custom_flag"] = random.choice([None, 1, "x", [1], {"a": 1}])
        tokens = {"bos_token": random.choice(["<s>", "<|begin|>", ""]), "eos_token": random.choice(["</s>", "<|end|>", ""]),
                  "pad_token": random.choice(["<pad>", ""])}
        yield messages, {"add_generation_prompt": random.random() < 0.6,
                         "special_tokens": {name: token for name, token in tokens.items() if token or random.random() < 0.2}, "extra": extra}
