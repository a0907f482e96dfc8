#include "retort/report/html.hpp"

#include <gtest/gtest.h>

using namespace retort;

namespace {

TEST(Escape, LeavesNothingThatHtmlWouldRead) {
  EXPECT_EQ(escape("<script>alert('T & \"B\"')</script>"),
            "&lt;script&gt;alert(&#39;T &amp; &quot;B&quot;&#39;)&lt;/script&gt;");
  EXPECT_EQ(escape(std::string("a\0b\x01", 4)), "a b ");
  EXPECT_EQ(escape("β cell\n"), "β cell\n");
  EXPECT_EQ(escape("\xff T"), "\xEF\xBF\xBD T");  // no UTF-8
}

TEST(Shortened, CountsCharactersNotBytes) {
  EXPECT_EQ(shortened("naïve", 5), "naïve");
  EXPECT_EQ(shortened("naïve T", 5), "naïv…");
  EXPECT_EQ(shortened("", 5), "");
}

TEST(HtmlOf, EscapesCellsAndMarksRows) {
  Table const table{{"set", "<n>"}, {{"*scdd", "1 < 2"}, {"cells", "3"}}, 1};
  auto const html = html_of(table);
  EXPECT_NE(html.find("<tr class=\"strong\"><td class=\"l\">scdd</td><td>1 &lt; 2</td></tr>"), std::string::npos)
      << html;
  EXPECT_NE(html.find("<th>&lt;n&gt;</th>"), std::string::npos);
}

TEST(Page, HasNoScriptAndForbidsTheNetwork) {
  auto const html = page("a <b>", section("T", "c", "<p>body</p>"));
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(html.find("<title>a &lt;b&gt;</title>"), std::string::npos);
  for (char const* word : {"<script", "http://", "https://", "src=", "@import", "url("})
    EXPECT_EQ(html.find(word), std::string::npos) << word;
}

// Every section of several runs has a link, and those of a later run stand under its name.
TEST(Page, LinksToItsSections) {
  auto const three = section("A & B", "", "") + section("C", "", "") + section("D", "", "");
  auto const html = page("t", "<h1>one</h1>" + three + "<h1>two</h1>" + section("C", "", ""));
  EXPECT_NE(html.find("<h1>one</h1><nav aria-label=\"On this page\"><ul><li><a href=\"#s1\">A &amp; B</a></li>"),
            std::string::npos)
      << html;
  EXPECT_NE(html.find("<b>two</b><ul><li><a href=\"#s4\">C</a></li></ul></nav>"), std::string::npos) << html;
  EXPECT_NE(html.find("<section id=\"s4\"><h2>C</h2>"), std::string::npos);
  EXPECT_EQ(page("t", section("A", "", "")).find("<nav"), std::string::npos);
}

}  // namespace
