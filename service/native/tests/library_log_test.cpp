#include "grpc_edge/library_log.h"

#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace seqserve::grpc_edge {
namespace {

std::string written(const char* words) {
  testing::internal::CaptureStderr();
  gpr_log(GPR_ERROR, "%s", words);
  return testing::internal::GetCapturedStderr();
}

TEST(LibraryLog, CallersWordsStayInOneLine) {
  EXPECT_EQ(printable("value=1\n{\"event\": 1}\x1b[31m\xc3"), "value=1\\x0a{\"event\": 1}\\x1b[31m\\xc3");
  EXPECT_EQ(printable(std::string(1000, 'a')), std::string(300, 'a') + "...");
}

TEST(LibraryLog, OnlyLastWordsAreWrittenUnasked) {
  setenv("GRPC_VERBOSITY", "ERROR", 1);
  tame_library_log();
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);  // as gRPC itself does when it starts

  EXPECT_EQ(written("Handshake failed"), "");
  EXPECT_EQ(written("assertion failed: a == b\n"), "gRPC: assertion failed: a == b\\x0a\n");
}

}  // namespace
}  // namespace seqserve::grpc_edge
