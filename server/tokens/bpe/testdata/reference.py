"""Counts tokens as the makers' own code does. Each line of input is a JSON
string; each line of output is its number of tokens.

    reference.py cl100k|o200k RANKS   tiktoken, which checks the hash of RANKS
    reference.py FILE                 Hugging Face's tokenizers
"""
import base64
import hashlib
import json
import sys


def openai(name, ranks):
    import tiktoken
    import tiktoken_ext.openai_public as public

    def load(url, expected_hash):  # in the place of the one that downloads
        with open(ranks, "rb") as f:
            data = f.read()
        if hashlib.sha256(data).hexdigest() != expected_hash:
            sys.exit(f"{ranks} is not what OpenAI publishes as {name}")
        return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, data.splitlines())}

    public.load_tiktoken_bpe = load
    encoding = tiktoken.Encoding(**getattr(public, name + "_base")())
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def hugging_face(file):
    import tokenizers

    t = tokenizers.Tokenizer.from_file(file)
    return lambda text: len(t.encode(text, add_special_tokens=False).ids)


count = openai(*sys.argv[1:]) if len(sys.argv) == 3 else hugging_face(sys.argv[1])
for line in sys.stdin:
    print(count(json.loads(line)))
