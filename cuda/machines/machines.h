// The probes' entry points, for the tables of both machines.

#pragma once

#include "windowkv_testing.h"

int wkv_emulated_probe(const wkv_probe_params* params);
int wkv_cuda_probe_sm80(const wkv_probe_params* params);
int wkv_cuda_probe_sm90a(const wkv_probe_params* params);
