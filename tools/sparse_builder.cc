#include "tools/sparse_builder.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/terminal/text_table.h"
#include "tools/parameter_name.h"
#include "tools/top_k.h"

namespace shira::tools {
namespace {

using Account = SparseBuilder::Account;

void AddTo(Account& sum, const Account& account) {
  sum.elements += account.elements;
  sum.entries += account.entries;
  sum.energy += account.energy;
  sum.energy_kept += account.energy_kept;
}

std::vector<std::string> Row(const std::string& name, size_t parameters, const Account& account) {
  return {name, FormatCount(static_cast<int64_t>(parameters)), FormatCount(account.entries),
          FormatCount(account.elements), absl::StrFormat("%.2f %%", 100 * account.kept())};
}

// For people: what was kept, per part of the model and in total.
std::string AccountsText(const SparseBuilder& builder) {
  std::map<std::string, std::pair<size_t, Account>> parts;
  for (const Account& account : builder.accounts()) {
    auto& [count, sum] = parts[PlaceOf(account.parameter).part];
    ++count;
    AddTo(sum, account);
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [part, sum] : parts) rows.push_back(Row(part, sum.first, sum.second));
  rows.push_back(Row("total", builder.accounts().size(), builder.total()));
  return FormatTable({{"PART"},
                      {"PARAMETERS", Align::kRight},
                      {"ENTRIES", Align::kRight},
                      {"ELEMENTS", Align::kRight},
                      {"ENERGY KEPT", Align::kRight}},
                     rows);
}

// Adds "entries", "elements", "energy_kept" and "parameters" to a command's object.
void AddAccounts(const SparseBuilder& builder, Json& json) {
  const Account total = builder.total();
  json["entries"] = total.entries;
  json["elements"] = total.elements;
  json["energy_kept"] = total.kept();
  json["parameters"] = Json::array();
  for (const Account& account : builder.accounts()) {
    json["parameters"].push_back({{"name", account.parameter},
                                  {"elements", account.elements},
                                  {"entries", account.entries},
                                  {"energy", account.energy},
                                  {"energy_kept", account.kept()}});
  }
}

}  // namespace

absl::Status SparseBuilder::Add(const std::string& parameter, int64_t rows, int64_t cols,
                                absl::Span<const float> dense) {
  SHIRA_ASSIGN_OR_RETURN(Sparsified sparse, Sparsify(parameter, rows, cols, dense, density_));
  accounts_.push_back({parameter, rows * cols, sparse.delta ? sparse.delta->table->entries() : 0,
                       sparse.energy, sparse.energy_kept});
  if (sparse.delta) deltas_.push_back(*std::move(sparse.delta));
  return absl::OkStatus();
}

Account SparseBuilder::total() const {
  Account total;
  for (const Account& account : accounts_) AddTo(total, account);
  return total;
}

absl::StatusOr<SparseAdapter> SparseBuilder::Finish() {
  if (deltas_.empty()) {
    return absl::InvalidArgumentError(
        "there is nothing to write: no selected parameter changes in any element");
  }
  SparseAdapter adapter;
  adapter.deltas = std::move(deltas_);
  deltas_.clear();
  std::sort(
      adapter.deltas.begin(), adapter.deltas.end(),
      [](const ParameterDelta& a, const ParameterDelta& b) { return a.parameter < b.parameter; });
  return adapter;
}

absl::StatusOr<ExitCode> FinishSparse(Session& session, SparseBuilder& builder,
                                      const SparseResult& result, const AdapterWriter* writer,
                                      const OutputOptions& output) {
  Json json = {{"out", output.path}, {"density", builder.density()}};
  AddAccounts(builder, json);
  if (!result.json.is_null()) json.update(result.json);
  const std::string text = AccountsText(builder) + result.text;
  if (writer != nullptr) {
    SHIRA_ASSIGN_OR_RETURN(SparseAdapter adapter, builder.Finish());
    adapter.base_model = result.base_model;
    SHIRA_RETURN_IF_ERROR(WriteAdapter(adapter, *writer, output));
  }
  if (session.json()) {
    session.PrintJson(json);
  } else {
    session.out().Write(text);
    if (writer != nullptr) session.out().Write(StrCat("\nWrote ", output.path, "\n"));
  }
  return ExitCode::kOk;
}

}  // namespace shira::tools
