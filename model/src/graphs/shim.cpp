// CUDA graphs of libtorch behind an interface of plain functions, for `model/src/graphs/mod.rs`, which opens this as a
// shared object at run time and says when each function is called.
//
// Nothing here decides anything. Exceptions end here: a function that fails returns a null pointer or 1, and
// `agon_graphs_error` then tells why.

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/headeronly/version.h>

#include <exception>
#include <memory>
#include <optional>
#include <string>

// Goes up with every change of the functions below, here and in `mod.rs`.
#define AGON_GRAPHS_INTERFACE "1"

namespace {

thread_local std::string last_error;

// Memory and stream that all recordings of one decoder share. Their steps never run at the same time, so what one
// keeps between its operations may lie where another's did.
struct Recorder {
  explicit Recorder(c10::DeviceIndex device)
      : stream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)),
        pool(at::cuda::graph_pool_handle()) {}

  c10::cuda::CUDAStream stream;
  at::cuda::MempoolId_t pool;
  // While it is set, this thread's operations go to the stream; the default stream cannot be recorded.
  std::optional<c10::cuda::CUDAStreamGuard> entered;
};

// What `body` returns, or `failure` when it throws.
template <typename Body, typename Result>
Result guarded(Result failure, Body body) noexcept {
  try {
    return body();
  } catch (const std::exception &error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an exception of an unknown type";
  }
  return failure;
}

Recorder &recorder_of(void *recorder) { return *static_cast<Recorder *>(recorder); }

at::cuda::CUDAGraph &graph_of(void *graph) { return *static_cast<at::cuda::CUDAGraph *>(graph); }

}  // namespace

extern "C" {

// Interface and libtorch that this was built for.
const char *agon_graphs_version() { return AGON_GRAPHS_INTERFACE " " TORCH_VERSION; }

// Why this thread's last call that failed did so.
const char *agon_graphs_error() { return last_error.c_str(); }

void *agon_graphs_open(int device) {
  return guarded(static_cast<void *>(nullptr), [&]() -> void * {
    return std::make_unique<Recorder>(static_cast<c10::DeviceIndex>(device)).release();
  });
}

void agon_graphs_close(void *recorder) { delete &recorder_of(recorder); }

// From here on this thread's operations go to the recorder's stream, behind those that it gave before.
int agon_graphs_enter(void *recorder) {
  return guarded(1, [&] {
    Recorder &own = recorder_of(recorder);
    c10::cuda::getCurrentCUDAStream(own.stream.device_index()).synchronize();
    own.entered.emplace(own.stream);
    return 0;
  });
}

// Back to the stream before, once all is done.
int agon_graphs_leave(void *recorder) {
  return guarded(1, [&] {
    Recorder &own = recorder_of(recorder);
    const c10::cuda::CUDAStream stream = own.stream;
    own.entered.reset();
    stream.synchronize();
    return 0;
  });
}

// From here to `agon_graphs_end` this thread's operations are recorded and not done. Other threads go on as they are.
void *agon_graphs_begin(void *recorder) {
  return guarded(static_cast<void *>(nullptr), [&]() -> void * {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    graph->capture_begin(recorder_of(recorder).pool, cudaStreamCaptureModeThreadLocal);
    return graph.release();
  });
}

int agon_graphs_end(void *graph) {
  return guarded(1, [&] {
    graph_of(graph).capture_end();
    return 0;
  });
}

// Gives the recorded operations to the stream that this thread is on.
int agon_graphs_replay(void *graph) {
  return guarded(1, [&] {
    graph_of(graph).replay();
    return 0;
  });
}

void agon_graphs_free(void *graph) { delete &graph_of(graph); }

}  // extern "C"
