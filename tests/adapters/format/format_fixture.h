// File: tests/adapters/format/format_fixture.h
//
// What the tests of the formats share: a folder, a small model, and readers of whole files.

#ifndef SHIRA_TESTS_ADAPTERS_FORMAT_FORMAT_FIXTURE_H_
#define SHIRA_TESTS_ADAPTERS_FORMAT_FORMAT_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "adapters/format/adapter_reader.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira::testing {

class FormatTest : public ::testing::Test {
 protected:
  using AdapterOr = absl::StatusOr<std::shared_ptr<const SparseAdapter>>;

  static constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  static constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
  static constexpr auto kNotFound = absl::StatusCode::kNotFound;
  static constexpr auto kDataLoss = absl::StatusCode::kDataLoss;

  FormatTest() {
    base_.parameters = {{"a.weight", {4, 3}}, {"b.weight", {2, 5}}, {"norm.weight", {1, 3}}};
  }

  AdapterOr Read(const std::string& path) const { return AdapterReader(base_, {}).Read(path); }

  // Of a folder in PEFT's layout.
  AdapterOr ReadFolder(const AdapterFolder& files) const {
    files.Write(temp_.Path("adapter"));
    return Read(temp_.Path("adapter"));
  }
  // Of the tensors alone, as a file.
  AdapterOr ReadFile(const AdapterFolder& files) const {
    return Read(temp_.Write("adapter.safetensors", files.tensors()));
  }

  static std::vector<int64_t> Positions(const ParameterDelta& delta) {
    return FlatPositionsOf(*delta.table);
  }

  BaseModelIdentity base_;
  TempFolder temp_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_ADAPTERS_FORMAT_FORMAT_FIXTURE_H_
