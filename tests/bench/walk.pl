# SPDX-License-Identifier: GPL-2.0-or-later
# Allocates in many ways: once for each line that it reads, and then says "done".
use strict;
use warnings;

$| = 1;

my @words = map { "word number $_ of a list" } 1 .. 300;

sub deep
{
	my ($depth, $fn) = @_;

	return $depth ? deep($depth - 1, $fn) : $fn->();
}

sub build
{
	my %tree = map { $_ => { text => $_ x 10, list => [ 1 .. 20 ] } } @words;

	return scalar keys %tree;
}

sub order
{
	my @sorted = sort { ($a . 'x') cmp ($b . 'y') } @words;

	return $sorted[0];
}

sub match
{
	my $text = join ' ', @words;

	$text =~ s/([a-z]+) number ([0-9]+)/sprintf('%s', $2 x 9)/ge;
	return length $text;
}

sub closures
{
	my @subs = map { my $n = $_; sub { "$n" . $_[0] } } @words;

	return join '', map { $_->('tail') } @subs;
}

while (<STDIN>) {
	for my $depth (1 .. 40) {
		deep($depth % 10, $_) for \&build, \&order, \&match, \&closures;
	}
	print "done\n";
}
