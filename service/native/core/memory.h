// Where staging buffers lie: the host's memory, or pinned memory that whoever runs the engine brings.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace seqserve {

// Floats that free themselves, whoever made them.
using Floats = std::shared_ptr<float>;

// Makes room for so many floats, aligned for vector instructions. Throws std::bad_alloc.
using Memory = std::function<Floats(std::size_t count)>;

Floats host_memory(std::size_t count);

}  // namespace seqserve
