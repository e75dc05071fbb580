"""Writes the texts that tokenizers are compared on: one JSON string a line, always the same ones.

    python make_corpus.py TEXTS

Hand-written texts of many scripts and kinds, then texts put together from them and from ranges of Unicode by a seeded generator.
"""

import json
import random
import sys

SEED = 20260
COUNT = 6400

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "I'm sure they'd've said WE'LL, you're, IT'S, don't, she'S, O'Reilly's, rock'n'roll, 'tis, dogs'",
    "Ça déjà vu à l'œuvre : « naïveté » — coûte 12 € l'unité, n'est-ce pas ?",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. STRASSE straße ẞ",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia; ¿verdad? ¡Sí!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy. Łódź, żółw, Çeşme, İstanbul, ığdır, Đà Nẵng",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ѣ ѳ ѵ",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ὕβρις ᾳ ᾼ ΣΊΣΥΦΟΣ",
    "איזה בן אדם אתה שִׁיר הַשִּׁירִים",
    "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت ١٢٣٤٥٦٧ ۴۵۶",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण। १२३४ क़ ख़",
    "আমি কাঁচ খেতে পারি, তাতে আমার কোনো ক্ষতি হয় না। ১২৩",
    "எனக்கு தமிழ் பேசத் தெரியும் ௧௨௩ నేను గాజు తినగలను ഞാൻ",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓",
    "ກິນແກ້ວໄດ້ ខ្ញុំអាចញ៉ាំកញ្ចក់បាន မြန်မာဘာသာ ༄༅། །བོད་ཡིག ༡༢",
    "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。２０２４年１２月３１日（火）〇一二三",
    "いろはにほへと ちりぬるを。カタカナ ｶﾀｶﾅ ﾊﾟﾋﾟ が が ㍿ ㋿ ー",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 각",
    "Tôi có thể ăn thủy tinh mà không hại gì. Tiếng Việt",
    "მინას ვჭამ და არა მტკივა. Կրնամ ապակի ուտել ። ሰማይ አይታረስ ᚠᛇᚻ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ",
    "𝕳𝖊𝖑𝖑𝖔 𝟘𝟙𝟚 ℕ ⅓ Ⅻ ① ⑳ ² ₃ ½ ㉈ 𐍈𐌰 𓀀 𒀀 🄰 𠀀𪜀",
]

CODE = [
    "def f(x: int = 0) -> str:\n    return f\"{x!r:>10}\"\n\n\n# done\n",
    "for (int i = 0; i < n; ++i) {\n\tv[i] += 0x1F3 * 1e-9f; // ok\r\n}\r\n",
    "SELECT * FROM t WHERE a_b <> 'it''s' AND c LIKE '%\\_%';",
    "#include <vector>\nstd::map<std::string, int> m{{\"a\", 1}};\n\n\n\n\tif(!x&&y||z)return(-1);",
    "<div class=\"a-b\">&nbsp;&#x27;</div><!-- x -->\n  <br/>\n",
    "{\"k\": [1, 2.50, -3e+10, null, true], \"\\u00e9\": \"\\n\"}",
    "$ sudo apt-get install -y foo_bar=1.2.3-4~deb12u1 && echo ${HOME:-/root} | sed 's/a/b/g'",
    "\\frac{a}{b} \\sum_{i=0}^{n} x_i^2 \\neq \\mathbb{R} $$ \\alpha $$",
    "fn main() { let s = r#\"raw\"#; println!(\"{:?}\", s?); }  /* ** */",
    "camelCaseIdentifier HTTPServerError snake_case_name SCREAMING_CASE kebab-case iPhone McDonald ABCdef",
]

MISCELLANEOUS = [
    "https://user:pw@www.example.co.uk:8080/a%20b/c.html?q=1&r[]=x#frag-2",
    "mailto:a.b+c@example.org ftp://[::1]/~x \\\\server\\share C:\\Users\\x file:///etc/passwd",
    "👩‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 🇩🇪🇫🇷🇯🇵 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ ☺ 1️⃣ 🫠 🤷🏿‍♂️",
    "e\u0301 \u00e9 A\u030a \u00c5 \u212b a\u0323\u0302 q\u0307\u0323 \u1e9b\u0323 \ufb01 \u0344 Z\u0351\u036b\u0343A\u0322\u036bL\u0320G\u0353O",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \uac00\u11a8 \u0958 \u2126 \u2000\u2001x \uf900 \u0149 \u01c4 \u1fbe",
    "12 123 1234 12345 123456 1234567 0.1 1,000,000 3.14159e-10 v2.0.1 10^6 1st 2nd 1a2b3c 00 007",
    "\u0967\u0968\u0969\u096a \u0660\u0661\u0662\u0663\u0664 \uff11\uff12\uff13\uff14 \u2160\u2161\u2162 \u00b2\u00b3 \u00bd\u00bc 1\u06f2\uff13\u0e54",
    "a b  c   d    e     f\tg\t\th \t \ti\nj\n\nk\n\n\nl \n m \n\n n\r\no\r\n\r\np\rq\x0br\x0cs",
    "x\u00a0y\u00a0\u00a0z \u00a0w\u3000v\u3000\u3000u\u2003t\u2009s\u200ar\u202fq\u205fp\u1680o\u180en\u2028m\u2029l\u0085k\u0085\u0085j",
    "zero\u200bwidth\u200c\u200djoin\u2060er\ufeffbom \u00adsoft \u202ertl\u202c \u2066iso\u2069",
    "\x00\x01\x02\x07\x08\x1b[31mred\x1b[0m\x1c\x1d\x1e\x1f\x7f\x80\x9f",
    "\ufffd \ufffe \uffff \U0010ffff \ue000 \U000f0000 \ufdd0 \u0378 \u0530",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ... --- *** !!! ??? <<< >>> ==> <-> |> :: ;; ,, ~~ ``",
    "“quotes” ‘single’ „low“ «guillemets» ‹x› – — … • · § ¶ † ‡ ° ± × ÷ ≠ ≤ ∞ √ ∑ € £ ¥ ₹ ₿ © ® ™",
    "'s 'S 't 'T 're 'RE 'Re 've 'VE 'm 'M 'll 'LL 'lL 'd 'D '\u017f '\u212a 'x '' ''' s' t's'll",
    "word's\u2019s \u2019s\u2019t can\u2019t",
    "<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><|endoftext|> <|im_start|><|im_end|>x<|im_end|",
    "a<|im_end|>b <|im_end|> c  <|im_end|>  d\n<|im_end|>\ne\t<|im_end|>\u00a0f",
    "<repo_name>foo/bar<file_sep>a.py\n<reponame><filename><gh_stars><jupyter_start><jupyter_code><empty_output>",
    "<|im_start|<|im_start|><|im_start||><<|im_end|>><|IM_END|>< |im_end|>",
    "[TOOL][TOOL_CALLS][/TOOL] [tool] x[TOOL]y [TOOL] TOOL",
    "<mask> word<mask>word a <mask> b  <mask>  c <mask>. (<mask>)",
    "myword myword's amyword mywordb my-word myword\u0301 myword_ _myword myword. \u4e00myword myword1 MyWord MYWORD",
    "Caf\u00e9 cafe\u0301 CAF\u00c9 cafe CAFE\u0301 \uff23\uff41\uff46\u00e9",
    "ab abc abcd abcde bc bcd cd abab",
    "A" * 300,
    "ab" * 400,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "9" * 257,
    " " * 200,
    " " * 63 + "x" + " " * 64 + "\n" + " " * 65,
    "\n" * 77,
    "\t\n" * 33 + "x",
    "=" * 120 + "\n" + "-" * 81,
    "中" * 150,
    "\u0301" * 40,
    "🙂" * 60,
    "aA" * 80 + "Aa" * 20,
    "",
    " ",
    "\n",
    "a",
    "é",
    "\u00a0",
    "'",
]

# Blocks to draw single characters from: (first, last).
RANGES = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x17F), (0x250, 0x2AF), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x4FF), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20BF), (0x2100, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF),
    (0x2600, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFB00, 0xFDFF), (0xFF00, 0xFFEF),
    (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x20000, 0x2A6DF),
]

GLUE = ["", "", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n", "\u00a0", "\u3000", "'", "-", "_", ".", ",", "1", "12", "123",
        "1234", "<|im_end|>", "<|im_start|>", "<mask>", "'s", "'LL", "/", "\u0301", "\u200d", "(", "!!"]


def character(rng):
    first, last = rng.choice(RANGES)
    return chr(rng.randint(first, last))


def fragment(rng, seeds):
    kind = rng.randrange(8)
    if kind < 4:
        text = rng.choice(seeds)
        start = rng.randrange(len(text) + 1)
        return text[start:start + rng.randint(1, 40)]
    if kind == 4:
        return "".join(character(rng) for _ in range(rng.randint(1, 12)))
    if kind == 5:
        return character(rng) * rng.randint(1, 9)
    if kind == 6:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 15)))
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 20)))


def corpus():
    rng = random.Random(SEED)
    seeds = SENTENCES + CODE + MISCELLANEOUS
    texts = list(seeds)
    for text in seeds:
        texts += [text.upper(), " " + text, text + " ", text + "\n", text[::-1]]
        texts += text.split(" ")
    long_seeds = [text for text in seeds if text]
    while len(texts) < COUNT:
        texts.append("".join(fragment(rng, long_seeds) + rng.choice(GLUE) for _ in range(rng.randint(1, 6))))
    return texts


def write(path):
    with open(path, "w", encoding="ascii", newline="\n") as file:
        for text in corpus():
            file.write(json.dumps(text) + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
