#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/hash/hash_testing.h"

namespace shira {
namespace {

// FIPS 180-4 examples, published by NIST.
TEST(Sha256Test, EqualsThePublishedExamples) {
  EXPECT_EQ(Sha256::Of("").Hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256::Of("abc").Hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256::Of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").Hex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256::Of(std::string(1'000'000, 'a')).Hex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, PartsHashAsTheirConcatenation) {
  Sha256 hash;
  hash.Update("ab").Update("").Update("c");
  EXPECT_EQ(hash.Finish(), Sha256::Of("abc"));
}

TEST(Sha256Test, NumbersAreEightLittleEndianBytes) {
  const std::string bytes("\x08\x07\x06\x05\x04\x03\x02\x01", 8);
  EXPECT_EQ(Sha256().UpdateU64(0x0102030405060708).Finish(), Sha256::Of(bytes));
}

TEST(Sha256Test, AMovedHashGoesOnWhereItWas) {
  Sha256 first;
  first.Update("a");
  Sha256 second = std::move(first);
  EXPECT_EQ(second.Update("bc").Finish(), Sha256::Of("abc"));
}

TEST(Sha256Test, DigestsAreOrderedAndHashable) {
  EXPECT_LT(Sha256::Of("abc"), Sha256::Of(""));  // ba... before e3...
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(
      {Sha256Digest{}, Sha256::Of(""), Sha256::Of("abc")}));
}

}  // namespace
}  // namespace shira
