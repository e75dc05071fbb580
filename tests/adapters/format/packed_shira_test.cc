#include "adapters/format/packed_shira.h"

#include <limits>
#include <numeric>
#include <random>

#include "adapters/format/packed_layout.h"
#include "adapters/format/packed_positions.h"
#include "adapters/format/packed_writer.h"
#include "base/safetensors.h"
#include "tests/adapters/format/format_fixture.h"

namespace shira {
namespace {

using ::shira::testing::AdapterFolder;
using ::shira::testing::FormatTest;
using ::shira::testing::IsOk;
using ::shira::testing::MakeDelta;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PackedShiraTest : public FormatTest {
 protected:
  // Two parameters with the same table, one replaced whole.
  static SparseAdapter Sample() {
    SparseAdapter adapter;
    adapter.format = "peft_shira";
    adapter.digest = Sha256::Of("source");
    adapter.deltas = {
        MakeDelta("a.weight", 4, 3, {0, 1, 11}, {0.1f, -2.0f, 3.0f}),
        MakeDelta("a2.weight", 4, 3, {0, 1, 11}, {1.0f, 2.0f, 3.0f}),
        MakeDelta("norm.weight", 1, 3, {0, 1, 2}, {1.0f, 1.5f, 0.3f}),
    };
    adapter.deltas[2].kind = ValueKind::kReplacement;
    return adapter;
  }

  PackedShiraTest() { base_.parameters["a2.weight"] = {4, 3}; }

  AdapterOr ReadPacked(const std::string& bytes) const {
    return Read(temp_.Write("adapter.shira", bytes));
  }

  // The sample's tensors and metadata, for a test to break; Bytes() puts the digest right again.
  struct Parts {
    std::string packed;  // what the views point into
    std::map<std::string, TensorView> tensors;
    std::map<std::string, std::string> metadata;

    std::string Bytes() {
      metadata[kPackedDigestKey] = PackedDigest(tensors, metadata).Hex();
      return *SerializeSafetensors(tensors, metadata);
    }
  };
  static std::unique_ptr<Parts> SampleParts() {
    auto parts = std::make_unique<Parts>();
    parts->packed = PackAdapter(Sample(), {})->bytes;
    const auto* data = reinterpret_cast<const std::byte*>(parts->packed.data());
    const Safetensors file = *Safetensors::Parse({data, parts->packed.size()}, "sample");
    parts->tensors = file.tensors();
    parts->metadata = file.metadata();
    return parts;
  }
};

TEST_F(PackedShiraTest, GivesBackWhatWasPacked) {
  ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(Sample(), {}));
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadPacked(packed.bytes));
  EXPECT_EQ(adapter->format, "packed_shira");
  EXPECT_EQ(adapter->digest, Sha256::Of(packed.bytes));
  ASSERT_EQ(adapter->deltas.size(), 3);
  EXPECT_EQ(adapter->deltas[0].parameter, "a.weight");
  EXPECT_EQ(adapter->deltas[0].kind, ValueKind::kDelta);
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(0.1f, -2.0f, 3.0f));
  EXPECT_THAT(Positions(adapter->deltas[1]), ElementsAre(0, 1, 11));
  EXPECT_EQ(adapter->deltas[2].kind, ValueKind::kReplacement);
  EXPECT_THAT(adapter->deltas[2].values, ElementsAre(1.0f, 1.5f, 0.3f));
}

TEST_F(PackedShiraTest, StoresEqualTablesOnce) {
  ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(Sample(), {}));
  EXPECT_EQ(packed.report.parameters, 3);
  EXPECT_EQ(packed.report.entries, 9);
  EXPECT_EQ(packed.report.tables, 2);
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadPacked(packed.bytes));
  EXPECT_EQ(adapter->deltas[0].table, adapter->deltas[1].table);
}

TEST_F(PackedShiraTest, ValuesThatBf16HoldsAreStoredAsBf16WithoutLoss) {
  const auto parts = SampleParts();
  EXPECT_EQ(parts->tensors.at("a.weight.delta.0").dtype, DType::kF32);
  EXPECT_EQ(parts->tensors.at("a2.weight.delta.0").dtype, DType::kBF16);
  EXPECT_EQ(PackAdapter(Sample(), {})->report.max_rounding_error, 0);
}

TEST_F(PackedShiraTest, TakesValuesInF16) {
  auto parts = SampleParts();
  const std::vector<uint16_t> halves = {0x3C00, 0x4000, 0xBC00};
  parts->tensors.at("a.weight.delta.0") = {
      DType::kF16, {3}, {reinterpret_cast<const std::byte*>(halves.data()), 6}};
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadPacked(parts->Bytes()));
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(1.0f, 2.0f, -1.0f));
}

TEST_F(PackedShiraTest, RoundsWhenAskedAndReportsTheLargestError) {
  ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(Sample(), {.round_to_bf16 = true}));
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadPacked(packed.bytes));
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(0.10009765625f, -2.0f, 3.0f));
  EXPECT_THAT(adapter->deltas[2].values, ElementsAre(1.0f, 1.5f, 0.30078125f));
  EXPECT_EQ(packed.report.max_rounding_error, double{0.30078125f} - double{0.3f});
  EXPECT_EQ(packed.report.max_rounding_error_parameter, "norm.weight");
}

TEST_F(PackedShiraTest, KeepsScaleRoundingAndBase) {
  SparseAdapter sample = Sample();
  sample.scale = 0.1f;
  sample.rounds_values = true;
  sample.base_model = "Org/Model";
  const Sha256Digest base = Sha256::Of("base");
  ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(sample, {.base_digest = base}));
  base_.digest = base;
  base_.dtype = DType::kBF16;
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadPacked(packed.bytes));
  EXPECT_EQ(adapter->scale, 0.1f);
  EXPECT_TRUE(adapter->rounds_values);
  EXPECT_EQ(adapter->base_model, "Org/Model");
  EXPECT_EQ(adapter->deltas[0].values[0], 0.10009765625f);
}

TEST_F(PackedShiraTest, TellsWhereItCameFrom) {
  const PackedFile packed = *PackAdapter(Sample(), {.tool = "shira 1", .date = "2026-01-02"});
  const auto* data = reinterpret_cast<const std::byte*>(packed.bytes.data());
  ASSERT_OK_AND_ASSIGN(const Safetensors file,
                       Safetensors::Parse({data, packed.bytes.size()}, "packed"));
  EXPECT_EQ(file.metadata().at("source_format"), "peft_shira");
  EXPECT_EQ(file.metadata().at("source_digest"), Sha256::Of("source").Hex());
  EXPECT_EQ(file.metadata().at("tool"), "shira 1");
  EXPECT_EQ(file.metadata().at("date"), "2026-01-02");
}

TEST_F(PackedShiraTest, WriterRefusesWhatItCannotStore) {
  SparseAdapter adapter;
  EXPECT_THAT(PackAdapter(adapter, {}), StatusIs(kInvalid, HasSubstr("found none")));
  adapter = Sample();
  adapter.scale = std::numeric_limits<float>::infinity();
  EXPECT_THAT(PackAdapter(adapter, {}), StatusIs(kInvalid, HasSubstr("scale")));
  adapter = Sample();
  adapter.deltas[0].values[0] = std::numeric_limits<float>::max();
  EXPECT_THAT(PackAdapter(adapter, {}), IsOk());
  EXPECT_THAT(PackAdapter(adapter, {.round_to_bf16 = true}),
              StatusIs(kInvalid, HasSubstr("a.weight: expected values that bf16 can hold")));
  adapter = Sample();
  adapter.deltas[0].parameter = "\xFF";
  EXPECT_THAT(PackAdapter(adapter, {}), StatusIs(kInvalid));
}

TEST_F(PackedShiraTest, RefusesContentThatContradictsItsDigest) {
  std::string bytes = PackAdapter(Sample(), {})->bytes;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  EXPECT_THAT(ReadPacked(bytes), StatusIs(kDataLoss, HasSubstr("digest: expected ")));
  auto parts = SampleParts();
  parts->Bytes();
  parts->metadata["scale"] = "2";
  EXPECT_THAT(ReadPacked(*SerializeSafetensors(parts->tensors, parts->metadata)),
              StatusIs(kDataLoss));
}

TEST_F(PackedShiraTest, RefusesAFileWithoutDigest) {
  auto parts = SampleParts();
  parts->metadata.erase(kPackedDigestKey);
  EXPECT_THAT(ReadPacked(*SerializeSafetensors(parts->tensors, parts->metadata)),
              StatusIs(kInvalid, HasSubstr("digest: missing")));
}

TEST_F(PackedShiraTest, RefusesAnotherVersion) {
  auto parts = SampleParts();
  parts->metadata["version"] = "2";
  EXPECT_THAT(ReadPacked(parts->Bytes()),
              StatusIs(kUnimplemented, HasSubstr("version: expected 1, found 2")));
  parts->metadata.erase("version");
  EXPECT_THAT(ReadPacked(parts->Bytes()), StatusIs(kInvalid, HasSubstr("version: missing")));
}

TEST_F(PackedShiraTest, RefusesMetadataThatItCannotRead) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"scale", "inf"},
                                                        {"scale", "x"},
                                                        {"scale", ""},
                                                        {"rounding", "up"},
                                                        {"base_digest", "00"},
                                                        {"base_digest", std::string(64, 'A')}}) {
    auto parts = SampleParts();
    parts->metadata[key] = value;
    EXPECT_THAT(ReadPacked(parts->Bytes()), StatusIs(kInvalid, HasSubstr(key + ": expected")))
        << value;
  }
}

TEST_F(PackedShiraTest, RefusesAnAdapterOfOtherWeights) {
  const Sha256Digest wanted = Sha256::Of("weights");
  ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(Sample(), {.base_digest = wanted}));
  EXPECT_THAT(ReadPacked(packed.bytes), IsOk());
  base_.digest = wanted;
  EXPECT_THAT(ReadPacked(packed.bytes), IsOk());
  base_.digest = Sha256::Of("other weights");
  EXPECT_THAT(ReadPacked(packed.bytes),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("base_digest")));
}

TEST_F(PackedShiraTest, RefusesAnAdapterOfAnotherBase) {
  SparseAdapter sample = Sample();
  sample.base_model = "Org/Other";
  base_.names = {"Org/Model"};
  EXPECT_THAT(ReadPacked(PackAdapter(sample, {})->bytes),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("Org/Other")));
}

TEST_F(PackedShiraTest, RefusesTensorsLeftOver) {
  for (const std::string name : {"stranger", "a.weight.delta", "a.weight.delta.00",
                                 "a.weight.delta.x", ".delta.0", "a.weight.values.0"}) {
    auto parts = SampleParts();
    parts->tensors[name] = parts->tensors.at("a.weight.delta.0");
    EXPECT_THAT(ReadPacked(parts->Bytes()), StatusIs(kInvalid, HasSubstr(name + ": left over")));
  }
}

TEST_F(PackedShiraTest, RefusesATableThatNoParameterUses) {
  auto parts = SampleParts();
  parts->tensors["tables.7"] = parts->tensors.at("tables.0");
  EXPECT_THAT(ReadPacked(parts->Bytes()),
              StatusIs(kInvalid, HasSubstr("tables.7: left over: no parameter uses it")));
}

TEST_F(PackedShiraTest, RefusesValuesWithoutTheirTable) {
  auto parts = SampleParts();
  parts->tensors.erase("tables.0");
  EXPECT_THAT(ReadPacked(parts->Bytes()),
              StatusIs(kInvalid, HasSubstr("weight.delta.0: expected the tensor tables.0")));
}

TEST_F(PackedShiraTest, RefusesValuesThatAreNotAsManyAsPositions) {
  auto parts = SampleParts();
  TensorView& values = parts->tensors.at("a.weight.delta.0");
  values.shape = {2};
  values.data = values.data.first(8);
  EXPECT_THAT(
      ReadPacked(parts->Bytes()),
      StatusIs(kInvalid, HasSubstr("expected 3 values, as tables.0 has positions, found 2")));
}

TEST_F(PackedShiraTest, RefusesWrongShapesAndDtypes) {
  auto parts = SampleParts();
  parts->tensors.at("a.weight.delta.0").shape = {3, 1};
  parts->tensors.at("tables.1").dtype = DType::kI8;
  EXPECT_THAT(ReadPacked(parts->Bytes()),
              StatusIs(kInvalid, AllOf(HasSubstr("found F32 [3, 1]"),
                                       HasSubstr("tables.1: expected U8 [n], found I8 [16]"))));
  parts = SampleParts();
  parts->tensors.at("a.weight.delta.0").dtype = DType::kI32;
  EXPECT_THAT(ReadPacked(parts->Bytes()), StatusIs(kInvalid, HasSubstr("found I32 [3]")));
}

TEST_F(PackedShiraTest, RefusesADamagedTable) {
  auto parts = SampleParts();
  const std::vector<std::byte> bad(24);
  parts->tensors.at("tables.0") = {DType::kU8, {24}, bad};
  EXPECT_THAT(ReadPacked(parts->Bytes()), StatusIs(kInvalid, HasSubstr("tables.0: expected")));
}

TEST_F(PackedShiraTest, RefusesAShapeThatTheModelDoesNotHave) {
  base_.parameters["a.weight"] = {3, 4};
  EXPECT_THAT(ReadPacked(PackAdapter(Sample(), {})->bytes),
              StatusIs(kInvalid, HasSubstr("a.weight: expected [3, 4], found [4, 3]")));
  base_.parameters.erase("a.weight");
  EXPECT_THAT(ReadPacked(PackAdapter(Sample(), {})->bytes),
              StatusIs(kInvalid, HasSubstr("a.weight: the model has no such matrix")));
}

TEST_F(PackedShiraTest, RefusesAParameterThatOccursTwice) {
  auto parts = SampleParts();
  parts->tensors["a.weight.replacement.0"] = parts->tensors.at("a.weight.delta.0");
  EXPECT_THAT(ReadPacked(parts->Bytes()), StatusIs(kInvalid, HasSubstr("a.weight: occurs twice")));
}

TEST_F(PackedShiraTest, RefusesAValueThatIsNotFinite) {
  auto parts = SampleParts();
  const std::vector<float> bad = {1, std::numeric_limits<float>::infinity(), 2};
  parts->tensors.at("a.weight.delta.0").data = {reinterpret_cast<const std::byte*>(bad.data()), 12};
  EXPECT_THAT(ReadPacked(parts->Bytes()), StatusIs(kInvalid, HasSubstr("a.weight: value 1")));
}

// What only decoding finds, after the shape was compared with the model's.
TEST_F(PackedShiraTest, RefusesPositionsThatCannotBeDecoded) {
  auto parts = SampleParts();
  const TensorView table = parts->tensors.at("tables.0");
  std::vector<std::byte> damaged(table.data.begin(), table.data.end());
  damaged.back() = std::byte{1};
  parts->tensors.at("tables.0").data = damaged;
  EXPECT_THAT(ReadPacked(parts->Bytes()),
              StatusIs(kInvalid, HasSubstr("a.weight: positions: expected zero bits")));
}

// One table of every position and few bytes cannot make the reader take memory for all of them.
TEST_F(PackedShiraTest, RefusesATableOfMoreEntriesThanThereAreValuesBeforeItIsDecoded) {
  auto parts = SampleParts();
  std::vector<uint32_t> header = {0xFFFF, 0xFFFF, 0xFFFFu * 0xFFFFu, 0};
  parts->tensors.at("tables.0") = {
      DType::kU8, {16}, {reinterpret_cast<const std::byte*>(header.data()), 16}};
  EXPECT_THAT(ReadPacked(parts->Bytes()),
              StatusIs(kInvalid, HasSubstr("expected 4294836225 values")));
}

}  // namespace
}  // namespace shira
