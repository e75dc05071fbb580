#include "server/model/weight_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/mapped_file.h"
#include "base/safetensors.h"
#include "tests/testutil/gguf_bytes.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::nlohmann::json;
using ::shira::testing::GgufBytes;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using ::shira::testing::kInvalid;
constexpr const char* kEmbeddings = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kGateUp = "model.layers.0.mlp.experts.gate_up_proj";
constexpr const char* kDown = "model.layers.0.mlp.experts.down_proj";
constexpr const char* kQ = "model.layers.0.self_attn.q_proj.weight";

struct FakeTensor {
  DType dtype;
  std::vector<int64_t> shape;
  std::vector<float> values = {};  // of an F32 tensor's first elements; the others are 0
};

// A folder with a model of one layer. The test changes the tensors before it writes them.
class WeightLoaderTest : public ::testing::Test {
 protected:
  void SetUp() override { WriteConfig(/*tied=*/true); }

  void WriteConfig(bool tied) {
    WriteConfig({{"model_type", "llama"},
                 {"hidden_size", 8},
                 {"num_hidden_layers", 1},
                 {"num_attention_heads", 2},
                 {"intermediate_size", 4},
                 {"vocab_size", 6},
                 {"tie_word_embeddings", tied}});
  }

  // A model of two experts, whose tensors are those of folders with a tensor for all of them.
  void WriteGptOss(int64_t hidden, int64_t wide) {
    WriteConfig({{"model_type", "gpt_oss"},
                 {"hidden_size", hidden},
                 {"num_hidden_layers", 1},
                 {"num_attention_heads", 2},
                 {"num_key_value_heads", 1},
                 {"head_dim", 8},
                 {"intermediate_size", wide},
                 {"vocab_size", 6},
                 {"num_local_experts", 2},
                 {"num_experts_per_tok", 1},
                 {"quantization_config", {{"quant_method", "mxfp4"}}}});
    std::erase_if(tensors_, [](const auto& tensor) {
      return tensor.first.find(".experts.") != std::string::npos;
    });
    tensors_[kGateUp] = {DType::kF32, {2, hidden, 2 * wide}};
    tensors_[std::string(kGateUp) + "_bias"] = {DType::kF32, {2, 2 * wide}};
    tensors_[kDown] = {DType::kF32, {2, wide, hidden}};
    tensors_[std::string(kDown) + "_bias"] = {DType::kF32, {2, hidden}};
  }
  // Gates and ups in MXFP4 instead.
  void QuantiseGateUp(int64_t hidden, int64_t wide) {
    tensors_.erase(kGateUp);
    tensors_[std::string(kGateUp) + "_blocks"] = {DType::kU8, {2, 2 * wide, hidden / 32, 16}};
    tensors_[std::string(kGateUp) + "_scales"] = {DType::kU8, {2, 2 * wide, hidden / 32}};
  }

  void WriteConfig(const json& config) {
    folder_.Write("config.json", config.dump());
    const absl::StatusOr<ModelConfig> parsed = ReadHuggingFaceConfig(folder_.path());
    ASSERT_THAT(parsed, IsOk());
    tensors_.clear();
    for (const TensorSpec& tensor : parsed->Tensors()) {
      tensors_[tensor.name] = {DType::kF32, tensor.shape};
    }
  }

  void WriteTensors(std::string_view file, const std::map<std::string, FakeTensor>& tensors) {
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, TensorView> views;
    for (const auto& [name, tensor] : tensors) {
      TensorView view{tensor.dtype, tensor.shape, {}};
      std::vector<float>& data = values[name] = tensor.values;
      data.resize(view.elements());
      view.data = {reinterpret_cast<const std::byte*>(data.data()),
                   data.size() * DTypeSize(tensor.dtype)};
      views.emplace(name, view);
    }
    const absl::StatusOr<std::string> bytes = SerializeSafetensors(views, {});
    ASSERT_THAT(bytes, IsOk());
    folder_.Write(file, *bytes);
  }

  void WriteIndex(const std::map<std::string, std::string>& weight_map) {
    folder_.Write("model.safetensors.index.json", json{{"weight_map", weight_map}}.dump());
  }

  absl::StatusOr<std::unique_ptr<WeightSource>> Open() {
    WriteTensors("model.safetensors", tensors_);
    return WeightSource::Open(folder_.path());
  }

  static std::vector<float> Read(const WeightSource& source, std::string_view name, int64_t rows,
                                 int64_t cols) {
    std::vector<float> values(rows * cols);
    EXPECT_THAT(source.Read(name, DType::kF32,
                            {reinterpret_cast<std::byte*>(values.data()), rows, cols}, &SerialFor),
                IsOk());
    return values;
  }

  const TempFolder folder_;
  std::map<std::string, FakeTensor> tensors_;
};

TEST_F(WeightLoaderTest, OpensAFolderAndNamesIt) {
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  EXPECT_EQ(source->config().vocab_size, 6);
  EXPECT_EQ(source->gguf(), nullptr);
  EXPECT_THAT(folder_.path(), ::testing::EndsWith("/" + source->name()));
  ASSERT_OK_AND_ASSIGN(const auto same, WeightSource::Open(folder_.path() + "/"));
  EXPECT_EQ(same->name(), source->name());
}

TEST_F(WeightLoaderTest, ListsEveryProblemInOneError) {
  tensors_.erase("model.norm.weight");
  tensors_[kQ].shape = {8, 4};
  tensors_["model.embed_tokens.weight"].dtype = DType::kI8;
  tensors_["model.layers.1.mlp.up_proj.weight"] = {DType::kF32, {4, 8}};
  EXPECT_THAT(
      Open(),
      StatusIs(kInvalid,
               AllOf(HasSubstr(folder_.path()), HasSubstr("'model.norm.weight' is missing"),
                     HasSubstr("q_proj.weight' has the shape [8, 4]; expected [8, 8]"),
                     HasSubstr("embed_tokens.weight' has the type I8; expected F32"),
                     HasSubstr("'model.layers.1.mlp.up_proj.weight' belongs to no parameter"))));
}

TEST_F(WeightLoaderTest, IgnoresKnownTablesThatAreNoParameters) {
  tensors_["model.layers.0.self_attn.rotary_emb.inv_freq"] = {DType::kF32, {2}};
  EXPECT_THAT(Open(), IsOk());
}

// As transformers: two matrices of equal numbers are one, whatever they are stored as.
TEST_F(WeightLoaderTest, TiedOutputWeightsThatEqualTheEmbeddingsAreDropped) {
  tensors_[kEmbeddings].values = {0.5f, -0.0f};
  tensors_[kHead] = tensors_[kEmbeddings];
  for (const float zero : {-0.0f, 0.0f}) {
    tensors_[kHead].values[1] = zero;
    ASSERT_OK_AND_ASSIGN(const auto source, Open());
    EXPECT_TRUE(source->config().tie_word_embeddings);
  }
  tensors_[kEmbeddings].values = {};
  tensors_[kHead] = {DType::kBF16, {6, 8}};
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  EXPECT_TRUE(source->config().tie_word_embeddings);
}

// As transformers, which then does not tie them.
TEST_F(WeightLoaderTest, TiedOutputWeightsThatDifferMakeTheModelUntied) {
  tensors_[kHead] = tensors_[kEmbeddings];
  tensors_[kHead].values = std::vector<float>(48);
  tensors_[kHead].values.back() = 2.0f;
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  EXPECT_FALSE(source->config().tie_word_embeddings);
  EXPECT_EQ(Read(*source, kHead, 6, 8).back(), 2.0f);
  EXPECT_EQ(Read(*source, kEmbeddings, 6, 8).back(), 0.0f);
  tensors_[kHead].shape = {5, 8};
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("'lm_head.weight' has the shape [5, 8]")));
}

TEST_F(WeightLoaderTest, TiedOutputWeightsAloneAreTheEmbeddings) {
  tensors_[kHead] = tensors_[kEmbeddings];
  tensors_[kHead].values = {3.0f};
  tensors_.erase(kEmbeddings);
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  EXPECT_TRUE(source->config().tie_word_embeddings);
  EXPECT_EQ(Read(*source, kEmbeddings, 6, 8).front(), 3.0f);
  tensors_.erase(kHead);
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("embed_tokens.weight' is missing")));
}

TEST_F(WeightLoaderTest, UntiedOutputWeightsAreRequired) {
  WriteConfig(/*tied=*/false);
  EXPECT_THAT(Open(), IsOk());
  tensors_.erase("lm_head.weight");
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("'lm_head.weight' is missing")));
}

TEST_F(WeightLoaderTest, ATensorOfAllExpertsColumnsIsTakenApart) {
  const int64_t hidden = 12, wide = 5;
  WriteGptOss(hidden, wide);
  for (auto& [name, tensor] : tensors_) {
    if (name.find(".experts.") == std::string::npos) continue;
    tensor.values.resize(2 * 2 * wide * hidden);
    for (size_t i = 0; i < tensor.values.size(); ++i) tensor.values[i] = static_cast<float>(i);
  }
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  const std::string experts = "model.layers.0.mlp.experts.";
  const std::vector<float> gate_up =
      Read(*source, experts + "gate_up_projs.1.weight", 2 * wide, hidden);
  const std::vector<float> down = Read(*source, experts + "down_projs.1.weight", hidden, wide);
  for (int64_t i = 0; i < 2 * wide; ++i) {
    for (int64_t k = 0; k < hidden; ++k) {
      EXPECT_EQ(gate_up[i * hidden + k], (hidden + k) * 2 * wide + i);
      if (i < wide) {
        EXPECT_EQ(down[k * wide + i], (wide + i) * hidden + k);
      }
    }
  }
  EXPECT_EQ(Read(*source, experts + "gate_up_projs.1.bias", 1, 2 * wide)[3], 2 * wide + 3);
  EXPECT_EQ(Read(*source, experts + "down_projs.1.bias", 1, hidden)[3], hidden + 3);
  EXPECT_EQ(Read(*source, experts + "down_projs.0.bias", 1, hidden)[3], 3);
}

TEST_F(WeightLoaderTest, Mxfp4NeedsBlocksAndScalesOfItsShape) {
  WriteGptOss(64, 32);
  QuantiseGateUp(64, 32);
  const std::string blocks = std::string(kGateUp) + "_blocks";
  const std::string scales = std::string(kGateUp) + "_scales";
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  EXPECT_EQ(Read(*source, "model.layers.0.mlp.experts.gate_up_projs.1.weight", 64, 64),
            std::vector<float>(64 * 64));
  tensors_[blocks].dtype = DType::kI8;
  tensors_[scales].shape = {2, 64, 3};
  EXPECT_THAT(Open(), StatusIs(kInvalid, AllOf(HasSubstr(blocks + "' has the type I8"),
                                               HasSubstr("expected U8 and [2, 64, 2, 16]"),
                                               HasSubstr(scales + "' has the type U8"),
                                               HasSubstr("expected U8 and [2, 64, 2]"))));
  tensors_.erase(scales);
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr(scales + "' is missing")));
  WriteGptOss(40, 32);
  QuantiseGateUp(40, 32);
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("' has rows of 40 elements, which is no whole "
                                                   "number of MXFP4 blocks of 32")));
}

// A scale of 255 is 2^128.
TEST_F(WeightLoaderTest, Mxfp4ThatIsNotFiniteIsRefused) {
  WriteGptOss(32, 2);
  QuantiseGateUp(32, 2);
  const std::string bytes("\0\0\0\0\0\xFF\0\0", 8);  // [2, 4, 1]: row 1 of expert 1
  std::vector<float>& scales = tensors_[std::string(kGateUp) + "_scales"].values;
  scales.resize(2);
  std::memcpy(scales.data(), bytes.data(), bytes.size());
  std::vector<float>& blocks = tensors_[std::string(kGateUp) + "_blocks"].values;
  blocks.resize(2 * 4 * 4);
  std::memset(blocks.data(), 0x70, blocks.size() * sizeof(float));  // 0, 6, 0, 6, ...
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  std::vector<float> values(4 * 32);
  const WeightDestination destination = {reinterpret_cast<std::byte*>(values.data()), 4, 32};
  EXPECT_THAT(source->Read("model.layers.0.mlp.experts.gate_up_projs.0.weight", DType::kF32,
                           destination, &SerialFor),
              IsOk());
  EXPECT_EQ(values[1], 6 * 0x1p-127f);
  EXPECT_THAT(
      source->Read("model.layers.0.mlp.experts.gate_up_projs.1.weight", DType::kF32, destination,
                   &SerialFor),
      StatusIs(kInvalid, AllOf(HasSubstr("gate_up_projs.1.weight'"),
                               HasSubstr("gate_up_proj_blocks"), HasSubstr("row 1, column 1"))));
}

TEST_F(WeightLoaderTest, RefusesWhatIsNoModel) {
  EXPECT_THAT(WeightSource::Open(folder_.Path("absent")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(WeightSource::Open(folder_.Path("config.json")),
              StatusIs(kInvalid, HasSubstr("a Hugging Face folder or a GGUF file")));
  EXPECT_THAT(WeightSource::Open(folder_.path()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("neither model.safetensors nor")));
  folder_.Write("model.safetensors", "12345678");
  EXPECT_THAT(WeightSource::Open(folder_.path()),
              StatusIs(kInvalid, HasSubstr("model.safetensors: ")));
  for (const char* name : {"x.gguf", "x.GGUF"}) {
    EXPECT_THAT(WeightSource::Open(folder_.Write(name, "GGML")),
                StatusIs(kInvalid, HasSubstr("not a GGUF file")));
  }
}

TEST_F(WeightLoaderTest, ShardNamesStayInTheFolder) {
  for (const std::string name :
       {"../model.safetensors", "/etc/passwd", "sub/../../a.safetensors", "sub/", "..", ".", ""}) {
    WriteIndex({{kQ, name}});
    EXPECT_THAT(WeightSource::Open(folder_.path()),
                StatusIs(kInvalid, AllOf(HasSubstr("index.json: weight_map"),
                                         HasSubstr("in the same folder"))))
        << name;
  }
}

TEST_F(WeightLoaderTest, RefusesAMalformedIndex) {
  for (const std::string_view text :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})"}) {
    folder_.Write("model.safetensors.index.json", text);
    EXPECT_THAT(WeightSource::Open(folder_.path()), StatusIs(kInvalid, HasSubstr("index.json")))
        << text;
  }
}

// As transformers, which reads the shards that the index names and takes what they hold.
TEST_F(WeightLoaderTest, AnIndexOnlySaysWhichShardsThereAre) {
  std::map<std::string, FakeTensor> a = tensors_, b;
  b[kQ] = a[kQ];
  a.erase(kQ);
  WriteTensors("a.safetensors", a);
  std::filesystem::create_directory(folder_.Path("sub"));
  WriteTensors("sub/b.safetensors", b);
  const auto opens = [&](const std::map<std::string, std::string>& weight_map) {
    WriteIndex(weight_map);
    return WeightSource::Open(folder_.path()).status();
  };
  const std::string head = "a.safetensors", tail = "sub/b.safetensors";
  EXPECT_THAT(opens({{kEmbeddings, head}, {kQ, tail}}), IsOk());             // too little
  EXPECT_THAT(opens({{kEmbeddings, tail}, {kQ, head}}), IsOk());             // the wrong shard
  EXPECT_THAT(opens({{kQ, head}, {"a", tail}, {"model.b", head}}), IsOk());  // what is nowhere
  EXPECT_THAT(opens({{kEmbeddings, head}}), StatusIs(kInvalid, HasSubstr("q_proj.weight' is mis")));
  EXPECT_THAT(opens({{kEmbeddings, head}, {kQ, "c.safetensors"}}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("c.safetensors")));
}

TEST_F(WeightLoaderTest, OfATensorInTwoShardsTheLastCounts) {
  WriteTensors("a.safetensors", tensors_);
  tensors_[kQ].values = {4.0f};
  WriteTensors("b.safetensors", {{kQ, tensors_[kQ]}});
  WriteIndex({{kQ, "a.safetensors"}, {kEmbeddings, "b.safetensors"}});
  ASSERT_OK_AND_ASSIGN(const auto source, WeightSource::Open(folder_.path()));
  EXPECT_EQ(Read(*source, kQ, 8, 8).front(), 4.0f);
}

TEST_F(WeightLoaderTest, JsonMayBeginWithAByteOrderMark) {
  WriteTensors("a.safetensors", tensors_);
  for (const char* name : {"config.json", "model.safetensors.index.json"}) {
    WriteIndex({{kQ, "a.safetensors"}});
    const auto text = ReadFile(folder_.Path(name), 1 << 20);
    ASSERT_THAT(text, IsOk());
    folder_.Write(name, "\xEF\xBB\xBF" + *text);
    EXPECT_THAT(WeightSource::Open(folder_.path()), IsOk()) << name;
  }
}

TEST_F(WeightLoaderTest, RefusesWeightsThatAreNotFiniteWithTheirPlace) {
  const auto read = [&](DType dtype) {
    const auto source = Open();
    std::vector<std::byte> memory(8 * 8 * 4);
    return source.ok() ? (*source)->Read(kQ, dtype, {memory.data(), 8, 8}, &SerialFor)
                       : source.status();
  };
  tensors_[kQ].values = std::vector<float>(64, 1.0f);
  tensors_[kQ].values[8 * 3 + 5] = -1e5f;
  EXPECT_THAT(read(DType::kF32), IsOk());
  EXPECT_THAT(read(DType::kBF16), IsOk());
  EXPECT_THAT(read(DType::kF16),
              StatusIs(kInvalid,
                       AllOf(HasSubstr(folder_.path()), HasSubstr(kQ), HasSubstr("row 3, column 5"),
                             HasSubstr("found -100000"), HasSubstr("overflows F16"))));
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    tensors_[kQ].values[8 * 2 + 7] = value;
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      EXPECT_THAT(read(dtype),
                  StatusIs(kInvalid, AllOf(HasSubstr("row 2, column 7"), Not(HasSubstr("over")))));
    }
  }
}

TEST_F(WeightLoaderTest, ReadRefusesWrongArgumentsAndWritesNothing) {
  ASSERT_OK_AND_ASSIGN(const auto source, Open());
  std::vector<std::byte> memory(8 * 8 * 4, std::byte{7});
  const auto read = [&](std::string_view name, DType dtype, int64_t rows, int64_t cols) {
    return source->Read(name, dtype, {memory.data(), rows, cols}, &SerialFor);
  };
  EXPECT_THAT(read("nothing", DType::kF32, 8, 8),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("'nothing'")));
  EXPECT_THAT(read(kQ, DType::kI8, 8, 8), StatusIs(kInvalid, HasSubstr("cannot be I8")));
  EXPECT_THAT(read(kQ, DType::kF32, 4, 16),
              StatusIs(kInvalid, HasSubstr("is 4 by 16; expected 8 by 8")));
  EXPECT_THAT(read("model.norm.weight", DType::kF32, 1, 4), StatusIs(kInvalid));
  EXPECT_THAT(source->Read(kQ, DType::kF32, {nullptr, 8, 8}, &SerialFor), StatusIs(kInvalid));
  EXPECT_THAT(memory, ::testing::Each(std::byte{7}));
  EXPECT_THAT(read(kQ, DType::kF32, 8, 8), IsOk());
  EXPECT_THAT(memory, ::testing::Each(std::byte{0}));
}

// A GGUF file whose metadata are right and whose tensors are these, as zeros: name, dimensions in
// the file's order, ggml type.
struct GgufLine {
  std::string name;
  std::vector<uint64_t> dimensions;
  uint32_t type;
  uint64_t offset = 0;
};

std::string MakeGguf(const std::vector<GgufLine>& lines) {
  GgufBytes bytes(lines.size(), 9);
  bytes.Text("general.architecture").Put(uint32_t{8}).Text("llama");
  bytes.Value("llama.embedding_length", 4, 8u).Value("llama.block_count", 4, 1u);
  bytes.Value("llama.attention.head_count", 4, 2u).Value("llama.feed_forward_length", 4, 4u);
  bytes.Value("llama.context_length", 4, 16u).Value("llama.vocab_size", 4, 6u);
  bytes.Value("llama.attention.layer_norm_rms_epsilon", 6, 1e-5f);
  bytes.Text("general.name").Put(uint32_t{8}).Text("Little One");
  for (const GgufLine& line : lines) {
    bytes.Tensor(line.name, line.dimensions, line.type, line.offset);
  }
  return bytes.Data(std::string(4096, '\0')).bytes();
}

std::vector<GgufLine> GoodLines() {
  return {{"token_embd.weight", {8, 6}, 0},   {"blk.0.attn_norm.weight", {8}, 0},
          {"blk.0.attn_q.weight", {8, 8}, 0}, {"blk.0.attn_k.weight", {8, 8}, 0},
          {"blk.0.attn_v.weight", {8, 8}, 0}, {"blk.0.attn_output.weight", {8, 8}, 0},
          {"blk.0.ffn_norm.weight", {8}, 0},  {"blk.0.ffn_gate.weight", {8, 4}, 0},
          {"blk.0.ffn_up.weight", {8, 4}, 0}, {"blk.0.ffn_down.weight", {4, 8}, 0},
          {"output_norm.weight", {8}, 0}};
}

TEST_F(WeightLoaderTest, OpensAGgufFileAndTakesItsName) {
  ASSERT_OK_AND_ASSIGN(const auto source,
                       WeightSource::Open(folder_.Write("x.gguf", MakeGguf(GoodLines()))));
  EXPECT_EQ(source->name(), "Little One");
  ASSERT_NE(source->gguf(), nullptr);
  EXPECT_EQ(source->gguf()->tensors().size(), 11);
}

TEST_F(WeightLoaderTest, AGgufFileIsKnownByItsFirstBytes) {
  for (const char* name : {"x.GGUF", "sha256-0123", "model.bin"}) {
    EXPECT_THAT(WeightSource::Open(folder_.Write(name, MakeGguf(GoodLines()))), IsOk()) << name;
  }
}

// Rows of q lie interleaved in the file; an error speaks of the parameter's own.
TEST_F(WeightLoaderTest, NamesTheRowOfAGgufTensorAsAdaptersDo) {
  std::vector<GgufLine> lines = GoodLines();
  ASSERT_EQ(lines[2].name, "blk.0.attn_q.weight");
  lines[2].offset = 4096 - 8 * 8 * 4;
  std::string bytes = MakeGguf(lines);
  const float value = NAN;
  // Row 1 of the file is row 2 of a head of 4: the first frequency's second half.
  std::memcpy(bytes.data() + bytes.size() - 8 * 8 * 4 + (1 * 8 + 6) * 4, &value, sizeof(value));
  ASSERT_OK_AND_ASSIGN(const auto source, WeightSource::Open(folder_.Write("x.gguf", bytes)));
  std::vector<std::byte> memory(8 * 8 * 2);
  EXPECT_THAT(source->Read(kQ, DType::kBF16, {memory.data(), 8, 8}, &SerialFor),
              StatusIs(kInvalid, AllOf(HasSubstr(kQ), HasSubstr("blk.0.attn_q.weight"),
                                       HasSubstr("row 2, column 6"))));
}

TEST_F(WeightLoaderTest, ListsEveryProblemOfAGgufFileUnderItsOwnNames) {
  std::vector<GgufLine> lines = GoodLines();
  lines[2].dimensions = {8, 4};
  lines[3].name = "blk.0.attn_z.weight";
  EXPECT_THAT(
      WeightSource::Open(folder_.Write("x.gguf", MakeGguf(lines))),
      StatusIs(kInvalid,
               AllOf(HasSubstr("'blk.0.attn_q.weight' has the shape [4, 8]; expected [8, 8]"),
                     HasSubstr("'blk.0.attn_k.weight' is missing"),
                     HasSubstr("'blk.0.attn_z.weight' belongs to no parameter"))));
}

TEST_F(WeightLoaderTest, EveryTruncationOfAGgufFileIsRefused) {
  const std::string good = MakeGguf(GoodLines());
  for (size_t length = 0; length < good.size() - 4096 + 256; length += 7) {
    EXPECT_THAT(WeightSource::Open(folder_.Write("x.gguf", good.substr(0, length))), Not(IsOk()))
        << length;
  }
}

}  // namespace
}  // namespace shira
