# One INI out of several that share sections: every setting once, with its comment, under its section.
/^\[/ {
  section = $0
  if (!named[section]++) order[++sections] = section
  next
}
/^#/ { comment = $0; next }
/=/ {
  if (!seen[section, $1]++) text[section] = text[section] comment "\n" $0 "\n"
}
END { for (i = 1; i <= sections; i++) printf("%s%s\n%s", i == 1 ? "" : "\n", order[i], text[order[i]]) }
