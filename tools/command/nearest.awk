# Of the names on its lines the one that the fewest changed, added or dropped letters lead to from `word`; none if all
# are far.
function least(a, b, c) { return a < b ? (a < c ? a : c) : (b < c ? b : c) }
function distance(from, to, row, i, j, above, diagonal) {
  for (j = 0; j <= length(to); j++) row[j] = j
  for (i = 1; i <= length(from); i++) {
    diagonal = row[0]
    row[0] = i
    for (j = 1; j <= length(to); j++) {
      above = row[j]
      row[j] = least(row[j] + 1, row[j - 1] + 1, diagonal + (substr(from, i, 1) != substr(to, j, 1)))
      diagonal = above
    }
  }
  return row[length(to)]
}
BEGIN { fewest = length(word) / 2 }
{
  changes = distance(word, $0)
  if (changes < fewest) { fewest = changes; name = $0 }
}
END { print name }
