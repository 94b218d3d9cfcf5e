"""Makes the golden embeddings of `agon-model`: a small random BERT, texts, and the vectors that transformers gives.

Made with Python 3.11.7, torch 2.11.0 (CPU), transformers 5.23.0, tokenizers as it brings them:

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 transformers==5.23.0
    venv/bin/python make_embeddings.py .

Each folder is a sentence encoder in the layout of sentence-transformers, with `golden.json` beside its parameters:
`texts`, and `vectors` in f32, one for each text.

| folder     | what it covers                                                                             |
| ---------- | ------------------------------------------------------------------------------------------ |
| bert-mean  | mean pooling and length 1, as in all-MiniLM-L6-v2; texts are cut at 24 tokens               |
| bert-first | the first token's vector, not normalised; parameters behind `bert.`, as beside a head       |
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertModel

TEXTS = [
    "the cat sat on the mat",
    "a cat is on a mat",
    "",
    "Zürich und Genève, 東京",
    "fn main() { println!(\"{}\", 1 + 1); }",
    "one two three " * 20,
    "mat",
]
CONTEXT = 24


def tokenizer() -> Tokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["the", "cat", "sat", "on", "mat", "is", "one", "two", "three", "##ing"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = special + words + list(letters) + [f"##{letter}" for letter in letters] + list(".,!?(){}\"+;")
    vocabulary = {name: number for number, name in enumerate(names)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    made.add_special_tokens(special)
    # Folders in the wild come with limits of their own, which are not those of the model.
    made.enable_truncation(max_length=12)
    made.enable_padding(length=12)
    return made


def make(folder: Path, model, encoder, pooling: str, normalize: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
        if name.endswith("LayerNorm.weight"):
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    model.save_pretrained(folder)
    made = tokenizer()
    made.save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling").mkdir()
    modes = dict(pooling_mode_cls_token=pooling == "first", pooling_mode_mean_tokens=pooling == "mean")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes) + "\n")
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    modules = [dict(idx=index, type=f"sentence_transformers.models.{kind}") for index, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules) + "\n")
    (folder / "sentence_bert_config.json").write_text(json.dumps(dict(max_seq_length=CONTEXT)) + "\n")
    made.no_padding()
    made.enable_truncation(max_length=CONTEXT)
    vectors = []
    for text in TEXTS:
        ids = torch.tensor([made.encode(text).ids])
        with torch.no_grad():
            hidden = encoder(input_ids=ids).last_hidden_state[0]
        vector = hidden[0] if pooling == "first" else hidden.mean(dim=0)
        vectors.append((vector / vector.norm() if normalize else vector).tolist())
    (folder / "golden.json").write_text(json.dumps(dict(texts=TEXTS, vectors=vectors)) + "\n")


def main(root: Path) -> None:
    torch.manual_seed(21)
    sizes = dict(
        vocab_size=tokenizer().get_vocab_size(), hidden_size=24, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=32, initializer_range=0.2, attn_implementation="eager",
    )
    mean = BertModel(BertConfig(**sizes), add_pooling_layer=False).eval()
    make(root / "bert-mean", mean, mean, "mean", normalize=True)
    first = BertForMaskedLM(BertConfig(**sizes)).eval()
    make(root / "bert-first", first, first.bert, "first", normalize=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
