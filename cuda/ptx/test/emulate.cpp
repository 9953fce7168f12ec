#include "common/emulate.h"

#include "machines/machines.h"
#include "ptx/test/probes.cuh"
#include "ptx/test/probes_sm90a.cuh"
#include "ptx/test/run.h"
#include "simt/test/faults.h"

int wkv_emulated_probe(const wkv_probe_params* params) {
  using namespace windowkv;
  using namespace windowkv::probe;
  if (params == nullptr || params->struct_size != sizeof(*params) || params->name == nullptr) {
    return set_error(WKV_INVALID_ARGUMENT, "probe: bad params");
  }
  const Probe* probe = find(kProbes, params->name);
  if (probe == nullptr) probe = find(kProbesSm90a, params->name);
  if (probe == nullptr) probe = find(fault_probes(), params->name);
  if (probe == nullptr) {
    return set_error(WKV_INVALID_ARGUMENT, std::string("there is no probe ") + params->name);
  }
  Arguments arguments;
  if (const int status = prepare(*params, arguments); status != WKV_OK) return status;
  const int threads = params->threads != 0 ? params->threads : probe->threads;
  return emulate({.grid = {static_cast<unsigned>(params->blocks)},
                  .block = {static_cast<unsigned>(threads)},
                  .cluster = {static_cast<unsigned>(probe->cluster)},
                  .shared_bytes = probe->shared_bytes},
                 [&] { probe->kernel(arguments); });
}
