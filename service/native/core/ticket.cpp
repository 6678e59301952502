#include "core/ticket.h"

#include <cstring>
#include <utility>

#include "core/version.h"

namespace seqserve {

Ticket::Ticket(std::shared_ptr<Version> version, RequestPtr request)
    : version_(std::move(version)), request_(std::move(request)) {}

Ticket::~Ticket() {
  // A ticket that was moved from holds nothing.
  if (request_ != nullptr && !is_committed_) version_->abandon(request_);
}

std::size_t Ticket::slots() const { return request_->pieces.size(); }

// No lock: the place of a piece changes only once its writer is done.
Slot Ticket::slot(std::size_t index) const {
  const Piece& piece = request_->pieces[index];
  return {piece.buffer->input(piece.offset), piece.rows};
}

void Ticket::write(const void* rows) const {
  const auto* from = static_cast<const unsigned char*>(rows);
  for (std::size_t index = 0; index < slots(); ++index) {
    const Slot to = slot(index);
    const std::size_t bytes = to.count * version_->widths().input * sizeof(float);
    std::memcpy(to.numbers, from, bytes);
    from += bytes;
  }
}

void Ticket::commit(Completion completion) {
  is_committed_ = true;
  version_->commit(request_, std::move(completion));
}

bool Ticket::leave() {
  if (is_committed_) return version_->leave(request_);
  is_committed_ = true;
  version_->abandon(request_);
  return true;
}

}  // namespace seqserve
