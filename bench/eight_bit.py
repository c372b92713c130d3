"""Training with products in eight bits, of either type, beside the exact path, on real rows:

    python bench/eight_bit.py RUN OUT.jsonl [STEPS] [PROFILE]     RUN: a run folder with data; 3 seeds of each; loss on the validation rows at the end, and its course

On a card (PROFILE its name) its own products are used, e4m3 only where they are native; without one both by their definition in torch: the same rounding, slowly. The base is
that of the run; the seed decides the order of the rows and the adapter's start. What is in OUT is not run again.
"""
import json, statistics, sys, tempfile
from pathlib import Path

def one(rows, cfg, seed, eight): # (training rows, validation rows); `Config`; seed; type of eight bits, or None
    "Train once; returns what to note"
    from medqa_nb.core.fused import Fused
    from medqa_nb.core.planner import make_plan
    from medqa_nb.core.steps import build_trainer
    cfg.run.seed = seed
    trainer,_ = build_trainer(cfg, make_plan(cfg, alternatives=False), *rows, tempfile.mkdtemp())
    trainer.fused = Fused(trainer.model, trainer.fused.flash, eight) # whatever the profile's own type is
    trainer.args.save_strategy = 'no'
    trainer.train()
    history = trainer.state.log_history
    return dict(seed=seed, eight=eight, loss=trainer.evaluate()['eval_loss'], course=[(o['step'], o['eval_loss']) for o in history if 'eval_loss' in o], training=[o['loss'] for o in history if 'loss' in o])

def main(run, out, steps='150', profile='cpu'):
    from medqa_nb.core.config import Config, load_config
    from medqa_nb.core.files import assets
    from medqa_nb.core.profiles import profiles
    from medqa_nb.core.runs import Run
    from medqa_nb.training import training_rows
    path,kinds = Path(out),(None, 'float8_e4m3fn', 'int8') if profile == 'cpu' or profiles[profile].fp8 else (None, 'int8')
    rows = training_rows(Run(run, run, Config()))
    base = load_config(Path(run)/'run.yaml').get('model', {}).get('base', 'auto')
    done = [json.loads(l) for l in path.read_text().splitlines()] if path.exists() else []
    for seed in range(3):
        for eight in kinds:
            if (seed, eight) in [(o['seed'], o['eight']) for o in done]: continue
            cfg = Config().update(load_config(assets('cpu_config.yaml'))) if profile == 'cpu' else Config()
            cfg.update(dict(gpu=dict(profile=profile), model=dict(base=str(assets('tiny')) if base == 'auto' else base), training=dict(max_steps=int(steps), eval_steps=max(1, int(steps)//5), effective_batch=8)))
            done.append(one(rows, cfg, seed, eight))
            with open(path, 'a') as f: f.write(json.dumps(done[-1]) + '\n')
            print(seed, eight or 'exact', done[-1]['course'], flush=True)
    losses = {k:[o['loss'] for o in done if o['eight'] == k] for k in kinds}
    exact = losses.pop(None)
    print(f'final loss, exact: {min(exact):.4f} to {max(exact):.4f}, mean {statistics.mean(exact):.4f}')
    for k,o in losses.items():
        mean = statistics.mean(o)
        print(f'{k}: {min(o):.4f} to {max(o):.4f}, mean {mean:.4f}, {"within" if min(exact) <= mean <= max(exact) else "outside"} the spread of the exact path; the mean differs by {mean - statistics.mean(exact):+.4f}')

if __name__ == '__main__': main(*sys.argv[1:])
