#!/usr/bin/env bash
# Builds the GPU bundle with the toolkit from Python packages, and starts it on this machine: where there is no GPU it has
# to say so and end with 3. Then `run` goes through everything on the emulated GPU, with stand-ins for the programs that
# need a real one: a whole run, runs in which something fails, one without time, and one that is stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
bundle=$target/gpu-bundle
venv=$(.ci/cuda-toolkit.sh)
VIRTUAL_ENV=$venv benches/bundle/gather.sh

fail() {
    echo "$*" >&2
    exit 1
}
# expect CODE COMMAND...: it ends with that code; what it prints is in $said.
expect() {
    local code=$1 status=0
    shift
    said=$("$@" 2>&1) || status=$?
    [ "$status" = "$code" ] || fail "$said
$*: ended with $status, not with $code"
}
# says TEXT: the last command printed it.
says() {
    grep -qF -- "$1" <<<"$said" || fail "$said
it does not say: $1"
}

grep -q '^nvcc: 1[2-9]\.' "$bundle/BUILD" && grep -q '^architectures: 80,90a$' "$bundle/BUILD" || fail "BUILD lacks something"
grep -q 'driver 580 or' "$bundle/README.txt" || fail "README.txt names another driver than the toolkit's"
grep -q 'GLIBC_2\.[0-9]* and GLIBCXX_3' "$bundle/README.txt" || fail "README.txt does not name the libraries"
expect 0 "$bundle/run" --help
says "3 where there is no GPU"
expect 2 "$bundle/run" fast
if ! command -v nvidia-smi >/dev/null; then
    expect 3 "$bundle/run"
    says 'no GPU to measure'
    # Asked for a GPU, no program passes without one.
    for program in 'kernels select::long_rows' 'ptx shuffle::' 'samples row_sums' 'cuda compressed'; do
        read -r program filter <<<"$program"
        expect 101 env WINDOWKV_DEVICE=cuda WINDOWKV_GOLDEN="$bundle/golden" "$bundle/tests/$program" "$filter"
    done
fi

# The programs find what they need in the bundle, away from the checkout.
(
    cd "$bundle"
    WINDOWKV_GOLDEN=$PWD/golden ./tests/kernels golden
    ./tests/ptx --skip faults::
)
# Each name of a sanitized test is one, and they pass with as few cases as there.
while read -r name; do
    [ "$("$bundle/tests/kernels" --exact "$name" --list | grep -c ': test$')" = 1 ] || fail "there is no test $name"
done <"$bundle/sanitized.txt"
mapfile -t sanitized <"$bundle/sanitized.txt"
PROPTEST_CASES=2 "$bundle/tests/kernels" --exact "${sanitized[@]}" decode::advance_leaves_those_that_have_left

# A bundle of stand-ins: the emulated GPU's tiny kernels, tests that only count, a sanitizer that finds nothing.
play=$target/gpu-bundle-play
rm -rf "$play" "$play.pid"
mkdir -p "$play/tests" "$play/peers" "$play/cuda/bin"
cp "$bundle"/{run,BUILD,sanitized.txt} "$play/"
cp "$bundle/peers/gpu_pytorch.py" "$play/peers/"
cat >"$play/gpu-bench" <<END
#!/usr/bin/env bash
case \$1 in
begin) exec "$bundle/gpu-bench" "\$@" --emulated ;;
kernels)
    arguments=("\${@/#main/tiny}")
    exec "$bundle/gpu-bench" "\${arguments[@]/#rest/tiny}" --emulated --rounds 2
    ;;
*) exec "$bundle/gpu-bench" "\$@" ;;
esac
END
stand_in() {
    printf '#!/bin/sh\n%s\n' "$2" >"$play/$1"
    chmod +x "$play/$1"
}
chmod +x "$play/gpu-bench"
for program in tests/ptx tests/samples tests/cuda criterion; do stand_in $program true; done
stand_in tests/kernels 'echo "7 cuda x" >>"$WINDOWKV_COUNTS"'
# compute-sanitizer --tool TOOL --error-exitcode CODE PROGRAM ...
stand_in cuda/bin/compute-sanitizer 'shift 4; exec "$@"'
play() {
    rm -rf "$play/out" "$play/out.tgz"
    CUDA_HOME=$play/cuda "$play/run" "$@"
}
record=$play/out/record.json
bench=$bundle/gpu-bench
# step_is NAME STATUS
step_is() {
    python3 - "$record" "$@" <<'END' || fail "the step $1 is not $2"
import json, sys
steps = {step["name"]: step["status"] for step in json.load(open(sys.argv[1]))["steps"]}
sys.exit(steps.get(sys.argv[2]) != sys.argv[3])
END
}

expect 0 play
says '| kernels-rest | passed |'
grep -q '"valid": true' "$record" || fail "a whole run is not valid"
for step in kernels-tests device-ran kernels-main sanitizer-racecheck criterion kernels-rest; do step_is $step passed; done
for file in out.tgz out/record.md out/logs/kernels-main.txt; do
    [ -s "$play/$file" ] || fail "a whole run leaves no $file"
done
$bench show "$record" >/dev/null
expect 0 $bench compare "$record" "$record"
says '12 of 12 lines are the same'
expect 2 "$play/run"
says 'out/ is there already'

expect 0 play quick
says 'run quick leaves it out'
step_is kernels-rest skipped

# No time for anything: it is over at once, and proves nothing.
started=$SECONDS
DEADLINE=20 expect 1 play
[ $((SECONDS - started)) -lt 20 ] || fail "a run without time took $((SECONDS - started)) s"
says 'the step kernels-tests did not pass'
step_is kernels-rest skipped

# A sanitizer that cannot work here is none; one that reports is.
stand_in cuda/bin/compute-sanitizer 'echo "Device not supported"; exit 86'
expect 0 play
step_is sanitizer-memcheck skipped
stand_in cuda/bin/compute-sanitizer 'shift 4; case "$*" in *layer::*) exit 86 ;; *) exec "$@" ;; esac'
expect 1 play
step_is sanitizer-memcheck failed
rm "$play/cuda/bin/compute-sanitizer"
expect 0 play
step_is sanitizer-memcheck skipped

# Tests that ran elsewhere, or failed, and kernels that died: whatever comes after, the end is 1.
stand_in tests/kernels 'echo "7 emulated x" >>"$WINDOWKV_COUNTS"'
expect 1 play quick
says 'the step device-ran did not pass'
stand_in tests/kernels 'echo "7 cuda x" >>"$WINDOWKV_COUNTS"'
stand_in tests/samples false
expect 1 play quick
says 'the step samples-tests did not pass'

# Stopped while it runs, it ends at once with all that it started, and leaves what it had.
stand_in tests/samples 'echo $$ >../gpu-bundle-play.pid; exec sleep 300'
rm -rf "$play/out"
"$play/run" >"$target/gpu-bundle-play.txt" 2>&1 &
runner=$!
until [ -s "$target/gpu-bundle-play.pid" ]; do sleep 0.1; done
sleeper=$(cat "$target/gpu-bundle-play.pid")
kill -TERM $runner
status=0
wait $runner || status=$?
[ $status = 130 ] || fail "a run that was stopped ended with $status, not with 130"
sleep 0.5
[ -e "/proc/$sleeper" ] && fail "a step goes on after the end of the run"
grep -q '"valid": false' "$record" || fail "a run that was stopped is valid"
$bench show "$record" >/dev/null

# The chart, from the record that nobody measured.
$bench roofline benches/tests/synthetic/2026-01-01-kernels.json -o "$target/roofline.svg"
grep -q 'SYNTHETIC' "$target/roofline.svg" && grep -q '<circle' "$target/roofline.svg" || fail "no chart"

# No number in README.md that is in no record.
$bench check benches/record
$bench readme --check
