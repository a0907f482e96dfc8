// The page: text that cannot break it, sections with captions, tables, and the one style sheet.
#pragma once

#include <string>
#include <vector>

namespace retort {

// Text as HTML shows it, in elements and in quoted attributes; bytes that are not UTF-8 and control characters are
// replaced.
std::string escape(std::string const& text);
// At most `longest` characters, the last of them an ellipsis where something is left out. Not yet escaped.
std::string shortened(std::string const& text, std::size_t longest);

// A heading with a sentence on what one sees and what would be good; `body` is HTML, the texts are not.
std::string section(std::string const& title, std::string const& caption, std::string const& body);
// Sentences one after the other.
std::string paragraph(std::vector<std::string> const& sentences);
// One picture of several: its own heading and SVG.
std::string figure(std::string const& title, std::string const& svg);
// Figures side by side where there is room, below each other on a phone; `least` is the width in CSS pixels that one
// needs. One alone is no wider than one of several.
std::string figures(std::vector<std::string> const& each, int least);
// A point of a verdict, ticked or with an exclamation mark, both texts; and the list of them.
std::string verdict_item(bool is_good, std::string const& subject, std::string const& text);
std::string verdict_list(std::string const& items);
// What is folded away until somebody asks.
std::string folded(std::string const& title, std::string const& body);

// Cells are texts; the first `words` columns are left-aligned, the others are numbers. A row that begins with '*' in
// its first cell is set in bold, without the asterisk.
struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  std::size_t words = 1;
};
std::string html_of(Table const& table);

// One self-contained page: no script, and a policy that forbids scripts and the network. More than two sections get
// links to them before the first one.
std::string page(std::string const& title, std::string const& body);

}  // namespace retort
