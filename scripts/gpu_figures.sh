#!/usr/bin/env bash
# Measures what `results/timing/` holds of a GPU; from a checkout, on a machine without network.
#
#   [PYTHON=python3] [WHEELS=folder] [DEVICE=cuda] [SMOKE=1] scripts/gpu_figures.sh OUT [DATA.jsonl]
#
# OUT     a folder for JSON, plots, logs and tables; made if it is not there
# DATA    tasks for the works beside peers and for the axes; else the embedded ones
# WHEELS  packages that PYTHON lacks; they go to OUT/venv, beside those that it has
# DEVICE  cpu measures the same there
# SMOKE   small settings: shows that all parts run, measures nothing
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: [PYTHON=] [WHEELS=] [DEVICE=cuda] [SMOKE=1] $0 OUT [DATA.jsonl]" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
data=()
if [ $# -eq 2 ]; then
  [ -r "$2" ] || { echo "$0: cannot read $2" >&2; exit 2; }
  data=(--data "$(cd "$(dirname "$2")" && pwd)/$(basename "$2")")
fi
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} device=${DEVICE:-cuda} smoke=${SMOKE:-}
export HF_HUB_OFFLINE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# -- packages -------------------------------------------------------------------------------------

lacking() {  # of this interpreter, what pip calls them
  "$1" - <<'END'
from importlib.util import find_spec

names = "pydantic pandas datasets evaluate sacrebleu scipy regex safetensors click rich pytest"
known = {**{name: name for name in names.split()}, "rouge_score": "rouge-score", "tomli_w": "tomli-w"}
print(*(package for module, package in known.items() if find_spec(module) is None))
END
}
missing=$(lacking "$python")
if [ -n "$missing" ]; then
  : "${WHEELS:?$python lacks $missing: set WHEELS to a folder that holds their wheels}"
  "$python" -m venv --system-site-packages "$out/venv"
  python=$out/venv/bin/python
  # shellcheck disable=SC2086
  "$python" -m pip install -q --no-index --find-links "$WHEELS" $missing
  # The peers, if they are there.
  for peer in higher torchopt; do
    "$python" -m pip install -q --no-index --find-links "$WHEELS" "$peer" 2>/dev/null ||
      echo "no wheel of $peer: it is left out"
  done
fi
fewgen() { "$python" -m bench.cli "$@"; }
say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

# -- what runs ------------------------------------------------------------------------------------

peers=(--pairs 7) axes=() rounds=(--rounds 7) preset=(quick)
for axis in tasks shots steps length rank order dtype; do axes+=(--over "$axis"); done
tests=(tests/test_at_once.py tests/test_timed.py)
if [ -n "$smoke" ]; then
  peers=(--pairs 1 --work meta-step-order-1 --peer loop) axes=(--over order) rounds=(--rounds 1)
  preset=(smoke --suite translation --baseline nearest --baseline fine-tuned --episodes 2)
  tests=(tests/test_timed.py -k "numbers or exponent")
fi

say "hardware and versions"
{
  git log -1 --format='commit %H' 2>/dev/null || echo "commit unknown"
  fewgen doctor || true  # tells what is missing; the parts below fail where they need it
  nvidia-smi 2>/dev/null || echo "no nvidia-smi"
  lscpu 2>/dev/null | grep -E '^(Model name|CPU\(s\))' || true
} | tee "$out/hardware.txt"

say "checks"
"$python" -m pytest -q -x "${tests[@]}" 2>&1 | tee "$out/checks.txt"

say "beside peers"
fewgen time --peers --device "$device" "${peers[@]}" "${data[@]}" --json "$out/peers.json" \
  > "$out/peers.md"

say "along axes"
fewgen time --device "$device" "${axes[@]}" "${rounds[@]}" "${data[@]}" \
  --json "$out/axes.json" --plot "$out/axes.svg" > "$out/axes.md"

if fewgen time --help | grep -q checkpoint-steps; then
  say "memory from 5 to 50 inner steps"
  fewgen time --device "$device" --over checkpoint-steps "${rounds[@]}" "${data[@]}" \
    --json "$out/checkpoint.json" > "$out/checkpoint.md"
fi

say "leaderboard"
fewgen run "${preset[@]}" --device "$device" --workers 1 --out "$out/leaderboard" \
  > "$out/leaderboard.md"

say "tables"
for part in peers axes checkpoint leaderboard; do
  if [ -f "$out/$part.md" ]; then printf '\n'; cat "$out/$part.md"; fi
done
