#include "core/runners.h"

namespace seqserve {

Runners::Runners(std::size_t slots, const Clock& clock) : clock_(clock), board_(std::make_shared<Board>()) {
  for (std::size_t slot = 0; slot < slots; ++slot) {
    threads_.emplace_back([this] { work(); });
  }
}

Runners::~Runners() {
  stop();
  for (std::thread& thread : threads_) thread.join();
}

void Runners::stop() {
  decltype(Board::due) let_go;  // without the lock: the last hold on a version may be among them
  {
    const std::lock_guard lock(board_->mutex);
    board_->is_stopped = true;
    let_go.swap(board_->due);
  }
  board_->news.notify_all();
}

void Runners::work() {
  // Not through `this`, which may be gone when a long batch ends.
  const std::shared_ptr<Board> board = board_;
  const Clock& clock = clock_;
  while (const VersionPtr version = next(*board, clock)) version->run_next();
}

void Runners::welcome() { board_->guest = std::this_thread::get_id(); }

bool Runners::run_own() {
  if (board_->own.empty()) return false;
  const VersionPtr version = std::move(board_->own.front());
  board_->own.pop_front();
  // Who came meanwhile may have made a batch of it that is not quick.
  if (version->is_quick()) {
    version->run_next();
  } else {
    ask(*board_, version, clock_.now());
  }
  return true;
}

void Runners::dismiss() {
  board_->guest = std::thread::id{};
  for (const VersionPtr& version : board_->own) ask(*board_, version, clock_.now());
  board_->own.clear();
}

void Runners::run(Version& version) {
  version.listen([board = board_, &clock = clock_](const VersionPtr& due, Time when) {
    const bool is_own = board->guest == std::this_thread::get_id() && when <= clock.now() && due->is_quick();
    if (is_own) {
      board->own.push_back(due);
    } else {
      ask(*board, due, when);
    }
  });
}

void Runners::ask(Board& board, const VersionPtr& due, Time when) {
  {
    const std::lock_guard lock(board.mutex);
    if (board.is_stopped) return;
    board.due.emplace(std::make_pair(when, board.asked++), due);
  }
  board.news.notify_one();
}

// The version that has been due longest, once one is; none after the end.
VersionPtr Runners::next(Board& board, const Clock& clock) {
  std::unique_lock lock(board.mutex);
  while (!board.is_stopped) {
    if (board.due.empty()) {
      board.news.wait(lock);
      continue;
    }
    const auto first = board.due.begin();
    const Time wait = first->first.first - clock.now();
    if (wait > Time{0}) {
      board.news.wait_for(lock, wait);
      continue;
    }
    VersionPtr version = std::move(first->second);
    board.due.erase(first);
    // This may be the only thread that knew when the next one is due.
    if (!board.due.empty()) board.news.notify_one();
    return version;
  }
  return nullptr;
}

}  // namespace seqserve
