#!/usr/bin/env bash
# Measures what `results/timing/` holds of a GPU; from a checkout, on a machine without network.
#
#   [PYTHON=python3] [WHEELS=folder] [DEVICE=cuda] [PARTS=...] [SMOKE=1] \
#     scripts/gpu_figures.sh OUT [DATA.jsonl]
#
# OUT     a folder for JSON, plots, logs and tables; made if it is not there
# DATA    tasks for the works beside peers and for the axes; else the embedded ones
# WHEELS  packages that PYTHON lacks; they go to OUT/venv, beside those that it has
# DEVICE  cpu measures the same there
# PARTS   some of: hardware checks peers axes checkpoint leaderboard
# SMOKE   small settings: shows that all parts run, measures nothing
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: [PYTHON=] [WHEELS=] [DEVICE=cuda] [PARTS=] [SMOKE=1] $0 OUT [DATA.jsonl]" >&2
  exit 2
fi
mkdir -p -- "$1"
out=$(cd "$1" && pwd)
data=()
if [ $# -eq 2 ]; then
  [ -f "$2" ] || { echo "$0: there is no file $2" >&2; exit 2; }
  data=(--data "$(cd "$(dirname "$2")" && pwd)/$(basename "$2")")
fi
absolute() { case $1 in /* | "") echo "$1" ;; */*) echo "$PWD/$1" ;; *) echo "${2:-}$1" ;; esac; }
PYTHON=$(absolute "${PYTHON:-}") WHEELS=$(absolute "${WHEELS:-}" "$PWD/")
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} device=${DEVICE:-cuda} smoke=${SMOKE:-}
parts=${PARTS:-hardware checks peers axes checkpoint leaderboard}
for part in $parts; do
  case " hardware checks peers axes checkpoint leaderboard " in
    *" $part "*) rm -f "$out/$part.md" ;; # a table of an earlier run is none of this one
    *) echo "$0: no such part: $part" >&2 && exit 2 ;;
  esac
done
export HF_HUB_OFFLINE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} # of a script in a folder below, where nothing is installed

# -- packages -------------------------------------------------------------------------------------

lacking() { # names of packages, of which it prints those that cannot be imported
  "$python" - "$@" <<'END'
import sys
from importlib.util import find_spec

print(*(name for name in sys.argv[1:] if find_spec(name.replace("-", "_")) is None))
END
}
install() { "$python" -m pip install -q --no-index --find-links "$WHEELS" "$@"; }

missing=$(lacking torch transformers tokenizers safetensors click rich pydantic pandas scipy regex \
  sacrebleu rouge-score tomli-w datasets evaluate pytest hypothesis)
peers_missing=$(lacking higher torchopt)
if [ -n "$missing" ] && [ -z "${WHEELS:-}" ]; then
  echo "$0: $python lacks $missing; set WHEELS to a folder that holds their wheels" >&2
  exit 2
fi
if [ -n "$missing$peers_missing" ] && [ -n "${WHEELS:-}" ]; then
  "$python" -m venv --system-site-packages "$out/venv"
  # PYTHON may be of a virtual environment itself, whose packages the new one does not see.
  there=$("$out/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
  "$python" -c 'import site; print(*site.getsitepackages(), sep="\n")' >"$there/outer.pth"
  python=$out/venv/bin/python
  # shellcheck disable=SC2086 # names of packages, with spaces between them
  [ -z "$missing" ] || install $missing
  for peer in $peers_missing; do
    install "$peer" || echo "$peer: no wheel that fits; it is left out"
  done
fi

# -- parts ----------------------------------------------------------------------------------------

fewgen() { "$python" -m bench.cli "$@"; }

compared=(--pairs 5) rounds=(--rounds 7) preset=(quick) axes=()
memory_steps="5 50" memory_tasks=8
for axis in tasks shots steps length rank order dtype; do axes+=(--over "$axis"); done
tests=(tests/test_at_once.py tests/test_timed.py)
if [ -n "$smoke" ]; then
  compared=(--pairs 1 --threads 1 --work meta-step-order-1 --peer loop)
  rounds=(--rounds 1 --threads 1) axes=(--over steps)
  memory_steps="1 2" memory_tasks=1
  preset=(smoke --suite translation --baseline nearest --baseline fine-tuned --episodes 2)
  tests=(tests/test_timed.py -k "numbers or exponent")
fi

hardware() {
  {
    git log -1 --format='commit %H' 2>/dev/null || echo "commit unknown"
    echo "code $(find bench baselines suites -name '*.py' | LC_ALL=C sort | xargs cat | sha256sum)"
    fewgen doctor || true # says itself what is missing; parts fail where they need it
    nvidia-smi 2>/dev/null || echo "no nvidia-smi"
    lscpu 2>/dev/null | grep -E '^(Model name|CPU\(s\))' || true
  } | tee "$out/hardware.txt"
}

checks() { "$python" -m pytest -q "${tests[@]}" 2>&1 | tee "$out/checks.txt"; }

peers() {
  fewgen time --peers --device "$device" "${compared[@]}" "${data[@]}" \
    --json "$out/peers.json" >"$out/peers.md"
}

axes() {
  fewgen time --device "$device" "${axes[@]}" "${rounds[@]}" "${data[@]}" \
    --json "$out/axes.json" --plot "$out/axes.svg" >"$out/axes.md"
}

checkpoint() { # peak memory of order 2 from 5 to 50 inner steps
  local steps flag made
  {
    echo "| inner steps | graphs | before, MiB | peak, MiB | seconds |"
    echo "| --- | --- | --- | --- | --- |"
    for steps in $memory_steps; do
      for flag in "" --checkpoint-steps; do
        [ -n "$flag" ] || [ "$steps" = "${memory_steps%% *}" ] || continue # 50 kept take all memory
        # shellcheck disable=SC2086 # no flag is no word
        made=$("$python" tests/performance/meta_step_memory.py --steps "$steps" $flag \
          --tasks "$memory_tasks" --device "$device" "${data[@]}" | "$python" -c '
import json, sys
made = json.load(sys.stdin)
print(*(f"{made[key]:.1f}" for key in ("before_mib", "peak_mib", "seconds")), sep=" | ")') || return 1
        echo "| $steps | $([ -n "$flag" ] && echo "made anew" || echo kept) | $made |"
      done
    done
  } >"$out/checkpoint.md"
}

leaderboard() {
  fewgen run "${preset[@]}" --device "$device" --workers 1 --out "$out/leaderboard" \
    >"$out/leaderboard.md"
}

failed=
for part in $parts; do
  printf '\n== %s, after %s s\n' "$part" "$SECONDS"
  "$part" || failed+=" $part"
done

printf '\n== tables, after %s s\n' "$SECONDS"
for part in $parts; do
  if [ -f "$out/$part.md" ]; then cat "$out/$part.md"; fi
done
if [ -n "$failed" ]; then
  echo "failed:$failed" >&2
  exit 1
fi
