#include "core/memory.h"

#include <cstdlib>
#include <new>

namespace seqserve {

namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register

}  // namespace

Floats host_memory(std::size_t count) {
  // aligned_alloc wants a multiple of the alignment.
  const std::size_t bytes = (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return Floats(static_cast<float*>(memory), std::free);
}

}  // namespace seqserve
