# Hashes, strings that grow, sorting, closures, regular expressions, evaluated code, a fork.
use strict;
use warnings;

my %count;
for my $n (1 .. 60_000) {
    push @{ $count{ "key " . $n % 5_000 } }, { number => $n, text => "x" x ($n % 300) };
}
my $length = 0;
for my $key (sort keys %count) {
    $length += length $_->{text} for @{ $count{$key} };
}
print "lengths $length\n";

my $text = join " ", map { sprintf "%05d", ($_ * 7919) % 100_003 } 1 .. 30_000;
my $found = () = $text =~ /\b(\d)\d*\1\b/g;
(my $changed = $text) =~ s/(\d+)/<$1>/g;
print "found $found, changed ", length $changed, "\n";

my @functions = map { my $n = $_; eval "sub { \$_[0] * $n + \$n }" } 1 .. 500;
my $sum = 0;
$sum += $_->(3) for @functions;
print "sum $sum\n";

my @lines = sort { $a->[1] <=> $b->[1] || $a->[0] cmp $b->[0] } map { [ "line $_", $_ % 97 ] } 1 .. 20_000;
print "first $lines[0][0], last $lines[-1][0]\n";

my $child = fork // die "fork: $!";
if ($child == 0) {
    my @more = map { "y" x $_ } 1 .. 2_000;
    exit(@more == 2_000 ? 0 : 1);
}
waitpid $child, 0;
print "child $?\n";
