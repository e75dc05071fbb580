// File: server/http/model_choice.h
//
// What the field `model` of a request says: the base model's own name, or adapters:
//
//   model   = term *( "+" term )
//   term    = name [ ":" weight ]          pirate    pirate@2    pirate:0.5+party:0.5
//
// A name is that of an adapter, one of its versions (name@version), an alias, or "base". Pure.

#ifndef SHIRA_SERVER_HTTP_MODEL_CHOICE_H_
#define SHIRA_SERVER_HTTP_MODEL_CHOICE_H_

#include <string_view>
#include <vector>

#include "server/catalog/adapter_selection.h"
#include "server/generation/field_problems.h"

namespace shira {

// What the server checks like any selection (CheckSelection). Adds a problem under "model" for a
// weight that is no number. `base_name`: of the model; that name means it whatever is in it.
std::vector<AdapterSelectionTerm> ParseModelChoice(std::string_view model,
                                                   std::string_view base_name,
                                                   FieldProblems& problems);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_MODEL_CHOICE_H_
