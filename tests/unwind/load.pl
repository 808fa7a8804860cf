# SPDX-License-Identifier: GPL-2.0-or-later
# Work for perl that allocates at all depths: closures, sort blocks, eval and die, regular expressions, ties.
use strict;
use warnings;

package Upper;

sub TIEHASH { my ($class) = @_; return bless {}, $class }
sub STORE { my ($self, $key, $value) = @_; $self->{$key} = uc $value }
sub FETCH { my ($self, $key) = @_; return $self->{$key} . "!" }

package main;

sub tree { my ($depth) = @_; return $depth ? [map { tree($depth - 1) } 1 .. 3] : "leaf" x (1 + rand 9) }
sub flat { my ($node) = @_; return ref $node ? map { flat($_) } @$node : $node }

sub fail_below
{
	my ($depth) = @_;
	die { depth => $depth, text => "x" x $depth } unless $depth;
	eval { fail_below($depth - 1) };
	die $@ if $@ && rand() < 0.7;
	return length sprintf "%s %d", "caught" x $depth, $depth;
}

my @ways = (
	sub { my %seen; $seen{$_}++ for flat(tree(4)); scalar keys %seen },
	sub { join ",", sort { length($a . "z") <=> length $b or $a cmp $b } map { "w" x rand 30 } 1 .. 60 },
	sub { eval { fail_below(12) }; 1 },
	sub { my $t = "key=value; " x 40; my $n = 0; $t =~ s/(\w+)=(\w+)/$n++; "$2=" . lc($1) . $n/ge; $t },
	sub { tie my %h, 'Upper'; $h{$_} = "v$_" for 1 .. 30; join "", map { $h{$_} } 1 .. 30 },
	sub { my $code = join "+", map { int rand 99 } 1 .. 30; eval "my \$f = sub { $code }; \$f->()" },
	sub { open my $in, "<", \("line\n" x 50) or die; my @l = <$in>; pack "(A*)*", @l },
);

$| = 1;
print "READY $$\n";
$ways[rand @ways]->() while 1;
