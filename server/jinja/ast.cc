#include "server/jinja/ast.h"

#include <algorithm>
#include <type_traits>

namespace shira::jinja {
namespace {

int DepthOf(const ExpressionPtr& expression) {
  return expression == nullptr ? 0 : expression->depth;
}

int DepthOf(const std::vector<ExpressionPtr>& expressions) {
  int depth = 0;
  for (const ExpressionPtr& expression : expressions) depth = std::max(depth, DepthOf(expression));
  return depth;
}

int DepthOf(const ArgumentList& arguments) {
  int depth = std::max({DepthOf(arguments.positional), DepthOf(arguments.all_positional),
                        DepthOf(arguments.all_named)});
  for (const auto& [name, value] : arguments.named) depth = std::max(depth, DepthOf(value));
  return depth;
}

}  // namespace

int ChildrenDepth(const Expression::Node& node) {
  return std::visit(
      [](const auto& n) {
        using T = std::decay_t<decltype(n)>;
        if constexpr (std::is_same_v<T, ListLiteral> || std::is_same_v<T, TupleLiteral>) {
          return DepthOf(n.items);
        } else if constexpr (std::is_same_v<T, DictLiteral>) {
          int depth = 0;
          for (const auto& [key, value] : n.entries) {
            depth = std::max({depth, DepthOf(key), DepthOf(value)});
          }
          return depth;
        } else if constexpr (std::is_same_v<T, Binary> || std::is_same_v<T, Logical>) {
          return std::max(DepthOf(n.left), DepthOf(n.right));
        } else if constexpr (std::is_same_v<T, Sign> || std::is_same_v<T, Not>) {
          return DepthOf(n.operand);
        } else if constexpr (std::is_same_v<T, ComparisonChain>) {
          int depth = DepthOf(n.first);
          for (const auto& [op, operand] : n.rest) depth = std::max(depth, DepthOf(operand));
          return depth;
        } else if constexpr (std::is_same_v<T, Concatenation>) {
          return DepthOf(n.parts);
        } else if constexpr (std::is_same_v<T, Conditional>) {
          return std::max({DepthOf(n.condition), DepthOf(n.then), DepthOf(n.otherwise)});
        } else if constexpr (std::is_same_v<T, FilterCall> || std::is_same_v<T, TestCall>) {
          return std::max(DepthOf(n.input), DepthOf(n.arguments));
        } else if constexpr (std::is_same_v<T, Attribute>) {
          return DepthOf(n.object);
        } else if constexpr (std::is_same_v<T, Subscript>) {
          return std::max(DepthOf(n.object), DepthOf(n.index));
        } else if constexpr (std::is_same_v<T, Slice>) {
          return std::max({DepthOf(n.object), DepthOf(n.start), DepthOf(n.stop), DepthOf(n.step)});
        } else if constexpr (std::is_same_v<T, Call>) {
          return std::max(DepthOf(n.callee), DepthOf(n.arguments));
        } else {
          return 0;
        }
      },
      node);
}

}  // namespace shira::jinja
