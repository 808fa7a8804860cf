// SPDX-License-Identifier: GPL-2.0-or-later
/* What the measured compiler compiles: usual headers and some templates. */
#include <map>
#include <string>
#include <vector>

template <int N> struct record {
	std::map<std::string, std::vector<int>> values;

	int sum() const
	{
		int total = N;

		for (const auto &entry : values)
			for (int value : entry.second)
				total += value;
		return total;
	}
};

template <int N> int sum_all()
{
	record<N> one;

	one.values["a"] = {N, N + 1};
	return one.sum() + sum_all<N - 1>();
}

template <> int sum_all<0>()
{
	return 0;
}

int main()
{
	return sum_all<5>();
}
