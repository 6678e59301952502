// The version against the histories that every micro-batcher obeys: tests/contract/batching.json.
//
// Time is a fake clock's. The engine runs on a thread of its own, which is waited for at each step, so that a
// history goes the same way each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "fakes.h"

namespace seqserve::testing {
namespace {

using nlohmann::json;
using Batches = std::vector<std::vector<std::string>>;

const std::map<std::string, std::string> kWords{
    {"answered", "answered"},          {"engine_failed", "engine_failed"}, {"expired", "deadline_exceeded"},
    {"overdue", "deadline_exceeded"},  {"stuck", "unavailable"},           {"away", "unavailable"},
    {"closing", "shutting_down"},      {"full", "overloaded"},             {"deadline", "overloaded"},
};

Time seconds(double count) { return Time{static_cast<Time::rep>(std::llround(count * 1e9))}; }

Limits limits_of(const json& history) {
  const json given = history.value("limits", json::object());
  Limits limits;
  limits.max_batch_rows = given.value("max_batch_size", 4);
  limits.max_queue_rows = given.value("max_queue_size", 10);
  limits.max_queue_delay = seconds(given.value("max_queue_delay_seconds", 0.0));
  if (given.contains("max_batch_seconds")) limits.max_batch_time = seconds(given["max_batch_seconds"]);
  return limits;
}

// Runs until it is told how to end; at most one batch at a time.
class SteppedEngine {
 public:
  void run(const float* rows, std::size_t count, float* outputs) {
    std::unique_lock lock(mutex_);
    batches_.emplace_back(rows, rows + count);
    is_in_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !is_in_; });
    if (fails_) throw std::runtime_error("the engine failed");
    for (std::size_t row = 0; row < count; ++row) outputs[row] = rows[row] + 0.5F;
  }

  void end(bool fails) {
    const std::lock_guard lock(mutex_);
    fails_ = fails;
    is_in_ = false;
    changed_.notify_all();
  }

  // Until the engine computes, or the thread that might have led to it is done.
  bool wait_in(const bool& is_done) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_in_ || is_done; });
    return is_in_;
  }

  void note_done(bool& is_done) {
    const std::lock_guard lock(mutex_);
    is_done = true;
    changed_.notify_all();
  }

  bool is_in() {
    const std::lock_guard lock(mutex_);
    return is_in_;
  }

  // Read while nothing runs or the engine waits.
  const std::vector<std::vector<float>>& batches() const { return batches_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<float>> batches_;
  bool is_in_ = false;
  bool fails_ = false;
};

class Replay {
 public:
  explicit Replay(const Limits& limits)
      : version_(Version::make({1, 1}, limits, [this](auto... batch) { engine_.run(batch...); }, clock_)) {
    version_->open();
  }

  ~Replay() {
    version_->abort();
    if (engine_.is_in()) engine_.end(false);
    if (thread_.joinable()) thread_.join();
  }

  void happen(const json& step) {
    const std::string what = step["do"];
    if (what == "ask") asked(step);
    if (what == "leave") left(step["who"]);
    if (what == "answer" || what == "fail") ended(what == "fail");
    if (what == "advance") advanced(seconds(step["seconds"]));
    if (what == "see") {
      EXPECT_EQ(engine_.batches().size(), step["batches"].get<std::size_t>());
    }
    if (what == "close") version_->close();
    if (what == "abort") version_->abort();
    if (what == "pause") version_->pause();
    if (what == "resume") version_->open();
    settle();
  }

  std::map<std::string, std::string> outcomes() const {
    std::map<std::string, std::string> outcomes;
    for (std::size_t index = 0; index < names_.size(); ++index) outcomes[names_[index]] = outcome(index);
    return outcomes;
  }

  // Rows back to names: a name for each piece, in the order of the names.
  Batches batches() const {
    Batches batches;
    for (const std::vector<float>& rows : engine_.batches()) {
      std::set<std::string> names;
      for (const float row : rows) names.insert(names_[static_cast<std::size_t>(row)]);
      batches.emplace_back(names.begin(), names.end());
    }
    return batches;
  }

 private:
  void asked(const json& step) {
    const Time deadline = step.contains("within") ? clock_.now() + seconds(step["within"]) : kNever;
    const auto value = static_cast<float>(names_.size());
    names_.push_back(step["who"]);
    sizes_.push_back(step["rows"]);
    callers_.push_back(ask(*version_, std::vector<float>(sizes_.back(), value), deadline));
    has_left_.push_back(false);
  }

  void left(const std::string& who) {
    const auto index = static_cast<std::size_t>(std::find(names_.begin(), names_.end(), who) - names_.begin());
    if (callers_[index].is_admitted() && callers_[index].ticket().leave()) has_left_[index] = true;
  }

  void ended(bool fails) {
    ASSERT_TRUE(engine_.is_in()) << "nothing runs";
    engine_.end(fails);
    thread_.join();
  }

  // Each deadline and each delay at its own time, and what follows from it before the next.
  void advanced(Time time) {
    const Time end = clock_.now() + time;
    for (Time next = next_event(); next <= end; next = next_event()) {
      clock_.advance(std::max(Time{0}, next - clock_.now()));
      version_->sweep();
      settle();
    }
    clock_.advance(end - clock_.now());
  }

  Time next_event() { return std::min(version_->sweep(), version_->due()); }

  // Starts what is due, until the engine computes or nothing is due any more.
  void settle() {
    while (!engine_.is_in() && version_->due() <= clock_.now()) {
      is_done_ = false;
      thread_ = std::thread([this] {
        version_->run_next();
        engine_.note_done(is_done_);
      });
      if (engine_.wait_in(is_done_)) return;
      thread_.join();
    }
  }

  std::string outcome(std::size_t index) const {
    const Caller& caller = callers_[index];
    if (!caller.is_admitted()) return refusal(caller.refused().reason);
    const Heard& heard = caller.heard();
    if (has_left_[index]) return heard.times == 0 ? "left" : "left and heard";
    if (!heard.ending) return "waiting";
    if (heard.times != 1) return "heard twice";
    const std::vector<float> expected(sizes_[index], static_cast<float>(index) + 0.5F);
    if (heard.ending == Ending::answered && heard.rows != expected) return "answered with others' rows";
    return kWords.at(name(*heard.ending));
  }

  static std::string refusal(Refusal reason) {
    // The same word, and another answer: who is in the batch hears of time, who comes hears of the engine.
    return reason == Refusal::overdue ? "unavailable" : kWords.at(name(reason));
  }

  FakeClock clock_;
  SteppedEngine engine_;
  VersionPtr version_;
  std::thread thread_;
  bool is_done_ = false;
  std::vector<std::string> names_;
  std::vector<std::size_t> sizes_;
  std::vector<Caller> callers_;
  std::vector<bool> has_left_;
};

TEST(Histories, EndAsTheySay) {
  const json histories = json::parse(std::ifstream(std::string(CONTRACT_FOLDER) + "/batching.json"));
  ASSERT_GT(histories.size(), 0U);
  for (const json& history : histories) {
    SCOPED_TRACE(history["case"].get<std::string>());
    Replay replay(limits_of(history));
    for (const json& step : history["steps"]) replay.happen(step);
    EXPECT_EQ(replay.outcomes(), (history["outcomes"].get<std::map<std::string, std::string>>()));
    EXPECT_EQ(replay.batches(), history["batches"].get<Batches>());
  }
}

}  // namespace
}  // namespace seqserve::testing
