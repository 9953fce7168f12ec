#!/bin/sh
# Sums what the kernel tests wrote to WINDOWKV_COUNTS: random cases by test and device.
#
#   .ci/kernel-counts.sh FILE [LEAST]    fails when the emulated GPU ran fewer than LEAST cases
set -eu
sort -k 2 "$1" | awk -v least="${2:-0}" '
    { printf "%6d cases on %-9s %s\n", $1, $2, $3; sum[$2] += $1 }
    END {
        for (device in sum) printf "%6d kernel cases on %s in all\n", sum[device], device
        if (sum["emulated"] < least) { printf "fewer than %d\n", least; exit 1 }
    }'
