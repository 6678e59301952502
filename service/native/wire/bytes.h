// Bytes that lie in somebody else's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace seqserve::wire {

struct Bytes {
  const std::uint8_t* begin = nullptr;
  const std::uint8_t* end = nullptr;

  std::size_t size() const { return static_cast<std::size_t>(end - begin); }
  bool empty() const { return begin == end; }
  std::string_view text() const { return {reinterpret_cast<const char*>(begin), size()}; }
};

}  // namespace seqserve::wire
