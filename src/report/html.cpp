#include "retort/report/html.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "retort/report/palette.hpp"
#include "retort/run/run_folder.hpp"

namespace retort {
namespace {

// Colours are named once and change with the reader's theme. SVG text is sized by the width that a picture has on the
// screen. A table that is wider than the screen scrolls: its edge is shaded there, and the first column stays.
constexpr char const* style = R"(
:root{
  color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d5dae0;--tile:#f4f6f8;
  --heat:#0b5cab;--good:#0b6e4f;--weak:#b14a00;--edge:#0003}
@media (prefers-color-scheme:dark){:root{
  --paper:#14171b;--ink:#e8ebee;--soft:#a3adb8;--line:#39414a;--tile:#1e2328;
  --heat:#6cb6ff;--good:#5fd3a7;--weak:#ffb070;--edge:#fff3}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);overflow-wrap:anywhere;
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:16px}
h1{font-size:1.6rem;line-height:1.2;margin:.5em 0 .2em}
section+h1{margin-top:2.6em}
h2{font-size:1.25rem;margin:2.2em 0 .2em;padding-top:.6em;border-top:1px solid var(--line)}
h3{font-size:.95rem;margin:.2em 0}
p{margin:.3em 0 .8em;max-width:75ch}
a{color:inherit}
.caption{color:var(--soft);font-size:.92rem}
nav{font-size:.9rem;margin:1.2em 0 0}
.verdict{padding-left:1.4em;margin:.6em 0;max-width:80ch}
.verdict li{margin:.45em 0;padding-left:.3em}
.verdict .good{list-style-type:"✓"}
.verdict .weak{list-style-type:"!"}
.verdict li::marker{font-weight:700;color:var(--good)}
.verdict .weak::marker{color:var(--weak)}
nav ul,.legend{list-style:none;margin:.4em 0;padding:0;display:flex;flex-wrap:wrap;gap:.2em 1.1em}
.legend{font-size:.85rem}
.legend svg{width:26px;height:12px;vertical-align:-1px;margin-right:.35em}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:1em 0}
.tile{background:var(--tile);border-radius:8px;padding:10px 12px}
.tile b{display:block;font-size:1.5rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tile.first{outline:2px solid var(--good)}
.figures{display:grid;gap:18px 22px;align-items:start}
figure{margin:0;min-width:0;overflow-x:auto}
figure>svg{display:block;width:100%;height:auto}
svg text{font-family:inherit;fill:var(--ink);font-size:11px}
svg .soft{fill:var(--soft)}
svg .axis{stroke:var(--soft);stroke-width:1;fill:none}
svg .grid{stroke:var(--line);stroke-width:.7;fill:none}
svg .level{stroke:var(--ink);stroke-width:1.2;fill:none}
svg .heat{fill:var(--heat)}
svg .frame{stroke:var(--line);fill:none}
svg .on{fill:var(--paper)}
svg .halo{paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
svg .shadow{stroke:var(--line);fill:none}
svg .mark{stroke:var(--ink);stroke-width:1.1}
.map{max-width:720px}
.with-legend{display:grid;gap:6px 24px;align-items:center}
@media (min-width:900px){.with-legend{grid-template-columns:720px 1fr}.with-legend .legend{display:block}}
@media (min-width:760px){.map text{font-size:7px}.map .halo{stroke-width:2px}}
.figures .map text{font-size:13px}
.figures .map .halo{stroke-width:3px}
.figures+h3{margin-top:1.4em}
.scroll{overflow-x:auto;margin:.6em 0;background:
  linear-gradient(to right,var(--paper) 40%,transparent) left/48px 100% no-repeat local,
  linear-gradient(to left,var(--paper) 40%,transparent) right/48px 100% no-repeat local,
  linear-gradient(to right,var(--edge),transparent) left/14px 100% no-repeat,
  linear-gradient(to left,var(--edge),transparent) right/14px 100% no-repeat}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
th,td{padding:.22em .6em;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}
.l{text-align:left}
td.l{white-space:normal;min-width:6em;max-width:26em}
td.w{white-space:normal;min-width:12em}
@media (max-width:700px){.scroll th:first-child,.scroll td:first-child{position:sticky;left:0;background:var(--paper)}}
tr.strong td{font-weight:650}
details{margin:.5em 0}
summary{cursor:pointer;color:var(--soft)}
pre{font-size:.78rem;white-space:pre-wrap;background:var(--tile);border-radius:8px;padding:10px}
dt{font-weight:650;margin-top:.6em}
dd{margin:0;max-width:75ch}
@media print{section{break-inside:avoid}}
)";

// Numbers the sections of `body`, and puts links to them before the first one; a heading above them begins a list of
// its own.
std::string with_contents(std::string const& body) {
  constexpr std::string_view opening = "<section><h2>", closing = "</h2>", heading = "<h1>", heading_closing = "</h1>";
  std::string html, list;
  std::size_t from = 0, sections = 0, first = std::string::npos;
  for (std::size_t at = body.find('<'); at != std::string::npos; at = body.find('<', at + 1)) {
    std::string_view const rest = std::string_view(body).substr(at);
    if (rest.starts_with(heading) && sections > 0) {
      list +=
          fmt::format("</ul>\n<b>{}</b><ul>", rest.substr(heading.size(), rest.find(heading_closing) - heading.size()));
    } else if (rest.starts_with(opening)) {
      html.append(body, from, at - from);
      if (sections == 0) first = html.size();
      html += fmt::format("<section id=\"s{}\"><h2>", ++sections);
      from = at + opening.size();
      list += fmt::format("<li><a href=\"#s{}\">{}</a></li>", sections,
                          rest.substr(opening.size(), rest.find(closing) - opening.size()));
    }
  }
  html.append(body, from);
  if (sections > 2) html.insert(first, fmt::format("<nav aria-label=\"On this page\"><ul>{}</ul></nav>\n", list));
  return html;
}

}  // namespace

std::string escape(std::string const& text) {
  std::string const valid = nlohmann::json::parse(json_text(text)).get<std::string>();
  std::string html;
  for (char const c : valid) {
    if (c == '&')
      html += "&amp;";
    else if (c == '<')
      html += "&lt;";
    else if (c == '>')
      html += "&gt;";
    else if (c == '"')
      html += "&quot;";
    else if (c == '\'')
      html += "&#39;";
    else if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
      html += ' ';
    else
      html += c;
  }
  return html;
}

std::string shortened(std::string const& text, std::size_t longest) {
  std::size_t characters = 0, cut = text.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;  // inside a character
    if (++characters == longest) cut = i;
    if (characters > longest) return text.substr(0, cut) + "…";
  }
  return text;
}

std::string section(std::string const& title, std::string const& caption, std::string const& body) {
  return fmt::format("<section><h2>{}</h2>\n<p class=\"caption\">{}</p>\n{}\n</section>\n", escape(title),
                     escape(caption), body);
}

std::string paragraph(std::vector<std::string> const& sentences) {
  return fmt::format("{}", fmt::join(sentences, " "));
}

std::string figure(std::string const& title, std::string const& svg) {
  return fmt::format("<figure><h3>{}</h3>\n{}\n</figure>\n", escape(title), svg);
}

std::string figures(std::vector<std::string> const& each, int least) {
  return fmt::format(
      "<div class=\"figures\" "
      "style=\"grid-template-columns:repeat(auto-fill,minmax(min({}px,100%),1fr))\">\n{}</div>\n",
      least, fmt::join(each, ""));
}

std::string verdict_item(bool is_good, std::string const& subject, std::string const& text) {
  return fmt::format("<li class=\"{}\"><b>{}</b> {}</li>\n", is_good ? "good" : "weak", escape(subject), escape(text));
}

std::string verdict_list(std::string const& items) { return "<ul class=\"verdict\">\n" + items + "</ul>\n"; }

std::string folded(std::string const& title, std::string const& body) {
  return fmt::format("<details><summary>{}</summary>\n{}\n</details>\n", escape(title), body);
}

std::string html_of(Table const& table) {
  constexpr std::size_t long_text = 32;  // such as lists of classes: these wrap
  std::string html = "<div class=\"scroll\"><table>\n<thead><tr>";
  auto const side = [&](std::size_t column) { return column < table.words ? " class=\"l\"" : ""; };
  for (std::size_t i = 0; i < table.header.size(); ++i)
    html += fmt::format("<th{}>{}</th>", side(i), escape(table.header[i]));
  html += "</tr></thead>\n<tbody>\n";
  for (auto const& row : table.rows) {
    bool const is_strong = !row.empty() && row[0].starts_with('*');
    html += is_strong ? "<tr class=\"strong\">" : "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i)
      html += fmt::format("<td{}>{}</td>", i >= table.words && row[i].size() > long_text ? " class=\"w\"" : side(i),
                          escape(i == 0 && is_strong ? row[i].substr(1) : row[i]));
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string page(std::string const& title, std::string const& body) {
  return fmt::format(
      "<!doctype html>\n"
      "<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<title>{}</title>\n"
      "<style>:root{{{}}}\n"
      "@media (prefers-color-scheme:dark){{:root{{{}}}}}{}</style></head>\n"
      "<body><main>\n"
      "{}</main></body></html>\n",
      escape(title), colours_on_light_paper(), colours_on_dark_paper(), style, with_contents(body));
}

}  // namespace retort
