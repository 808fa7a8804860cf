// SPDX-License-Identifier: GPL-2.0-or-later
// Something to compile: templates, lambdas, exceptions and much of the library.
#include <algorithm>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct chain : chain<N - 1> {
	std::map<int, std::vector<std::string>> items;
	int sum(const std::function<int(int)> &f) const
	{
		return f(N) + (int)items.size() + chain<N - 1>::sum(f);
	}
};
template <> struct chain<0> {
	int sum(const std::function<int(int)> &f) const { return f(0); }
};

int main(int argc, char **argv)
{
	chain<6> links;
	std::regex words("([a-z]+)=([0-9]*)");
	std::variant<int, std::string, std::set<double>> value = std::string(argv[0]);
	std::unordered_map<std::string, std::shared_ptr<std::vector<int>>> table;

	try {
		table.at("x")->push_back(links.sum([argc](int i) { return i * argc; }));
	} catch (const std::exception &e) {
		std::cout << std::regex_replace(e.what(), words, "$2") << value.index() << '\n';
	}
	return std::async([&] { return (int)table.size(); }).get();
}
