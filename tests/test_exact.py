"""Cut in the middle and continued, a training ends with the same adapter, bit for bit, whatever the optimizer and the recipe.

On the CPU, or on a GPU in the way of the profile that MEDQA_TEST_PROFILE names (t4: fp16 with a gradient scaler)."""
import hashlib, os
import pandas as pd
import pytest
from medqa_nb.core.config import Config, load_config
from medqa_nb.core.files import assets
from medqa_nb.core.trainer import fit

class Killed(Exception): pass

def rows(n=40):
    return pd.DataFrame([dict(key=f'r{i}', question=f'What is condition {i}?', answer=f'Condition {i} is an illness of the number {i}. '*(1 + i%4))
                         for i in range(n)])

def settings(**training):
    lora = training.pop('lora', {})
    base = dict(max_steps=4, eval_steps=4, save_steps=2, effective_batch=4, max_length=160)
    return Config().update(load_config(assets('cpu_config.yaml'))).update(dict(gpu=dict(profile=os.environ.get('MEDQA_TEST_PROFILE', 'cpu')),
                  model=dict(base=str(assets('tiny'))), lora=lora, training={**base, **training}))

def adapter(folder): return hashlib.sha256((folder/'adapter/adapter_model.safetensors').read_bytes()).hexdigest()

CASES = {'adamw_torch':dict(optimizer='adamw_torch'),
         'adamw_torch, dropout, packing, accumulation':dict(optimizer='adamw_torch', packing=True, effective_batch=16, lora=dict(dropout=0.2)),
         'adamw_8bit, accumulation':dict(optimizer='adamw_8bit', effective_batch=16),
         'adamw_8bit, dropout, packing':dict(optimizer='adamw_8bit', packing=True, lora=dict(dropout=0.1)),
         'paged_adamw_8bit, packing':dict(optimizer='paged_adamw_8bit', packing=True, lora=dict(dropout=0.1)),
         'paged_adamw_8bit, accumulation':dict(optimizer='paged_adamw_8bit', effective_batch=16),
         'DoRA, NEFTune, early stopping':dict(optimizer='adamw_8bit', neftune=5, eval_steps=1, patience=3, lora=dict(dora=True, rslora=True)),
         'trained head':dict(optimizer='adamw_8bit', lora=dict(modules_to_save=['lm_head']))}

@pytest.mark.parametrize('case', CASES)
def test_bit_identical(case, tmp_path):
    cfg,df = settings(**CASES[case]),rows()
    whole = fit(cfg, df, df[:4], tmp_path/'whole', tmp_path/'whole-store', say=lambda s: None)
    def die(state, logs):
        if state.global_step == 3: raise Killed
    with pytest.raises(Killed): fit(cfg, df, df[:4], tmp_path/'cut', tmp_path/'cut-store', say=lambda s: None, progress=die)
    cut = fit(cfg, df, df[:4], tmp_path/'cut', tmp_path/'cut-store', say=lambda s: None)
    assert cut['resumed_from'] == [2] and whole['resumed_from'] == [] and cut['best'] == whole['best']
    assert adapter(tmp_path/'cut') == adapter(tmp_path/'whole')
