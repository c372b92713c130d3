"BERTScore where its package works: the same numbers."
import pytest

@pytest.fixture(scope='module')
def model(tmp_path_factory):
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast
    d = tmp_path_factory.mktemp('bert')
    words = 'gout is a form of arthritis that comes suddenly and swells the joints rest drink water much every day ##s ##ing swell ##en . ,'.split()
    (d/'vocab.txt').write_text('\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *words]))
    BertTokenizerFast(str(d/'vocab.txt'), model_max_length=512).save_pretrained(d)
    torch.manual_seed(0)
    bert = BertModel(BertConfig(vocab_size=len(words) + 5, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128, initializer_range=.05))
    bert.embeddings.word_embeddings.weight.data *= 10 # or places and neighbours would drown the words
    bert.save_pretrained(d)
    return str(d)

@pytest.mark.parametrize('idf', [False, True])
def test_equal_to_the_package(model, idf):
    "Precision, recall and F1 of texts that fit into 512 pieces, with and without rarity weights, to 1e-5"
    score = pytest.importorskip('bert_score')
    from medqa_nb.core.semantic import bert_scores
    said = ['Gout is a form of arthritis.', 'Rest and drink much water every day, every day.', 'Swelling joints', 'rest ' * 300]
    true = ['Gout comes suddenly and swells the joints.', 'Drink water.', 'The joints swell.', 'drink much water. ' * 90]
    scorer = score.BERTScorer(model_type=model, num_layers=3, idf=idf, idf_sents=true, device='cpu', batch_size=2)
    scorer._tokenizer.model_max_length = 512
    want = [t.tolist() for t in scorer.score(said, true)]
    got = bert_scores(said, true, model, 3, idf=idf, device='cpu')
    for i,o in enumerate(got):
        for j in range(3): assert abs(o[j] - want[j][i]) < 1e-5, (i, j, o, [w[i] for w in want])

def test_beyond_512_pieces(model):
    "What comes late is read: the same words at the end of a long answer count"
    from medqa_nb.core.semantic import bert_scores
    late = 'rest . ' * 400 + 'gout swells the joints suddenly .'
    without,with_it = (o[1] for o in bert_scores(['rest . ' * 400, late], ['gout swells the joints suddenly .'] * 2, model, 3, device='cpu'))
    assert with_it > without + .05
