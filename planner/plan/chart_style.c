/* SPDX-License-Identifier: MIT
 *
 * planner/plan/chart_style.c — how the drawing looks on light and dark grounds, and text in it. */
#include "planner/plan/chart_style.h"

/* Text that came from a file: no markup, no controls, valid UTF-8. */
void kp_chart_text(kp_buf *out, const char *text)
{
    size_t len = strlen(text), n;
    for (size_t i = 0; i < len; i += n) {
        n = kp_utf8_len(text + i, len - i);
        unsigned char c = (unsigned char)text[i];
        if (!n || c < ' ' || c == 127) {
            n = n ? n : 1;
            kp_buf_char(out, '?');
        } else if (c == '&' || c == '<' || c == '>' || c == '"') {
            kp_buf_fmt(out, "&#%d;", c);
        } else {
            kp_buf_add(out, text + i, n);
        }
    }
}

/* The end of a long name: what tells it from the others. */
void kp_chart_name(kp_buf *out, const char *name, size_t room)
{
    size_t len = strlen(name);
    if (len > room) {
        name += len - room + 1;
        while ((*name & 0xc0) == 0x80) name++;
        kp_buf_str(out, "\xe2\x80\xa6");
    }
    kp_chart_text(out, name);
}

void kp_chart_style(kp_buf *out)
{
    kp_buf_str(
        out,
        "<style>\n"
        "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu "
        "Sans',sans-serif;fill:#1d2733}\n"
        ".bg{fill:#fff}.plate{fill:#fff;fill-opacity:.86}.plot{fill:#f6f8fa}\n"
        ".title{font-size:21px;font-weight:600}.sub{font-size:14px;fill:#57626e}\n"
        ".tick{font-size:12px;fill:#57626e}.name{font-size:11.5px;fill:#57626e}\n"
        ".grid{stroke:#d9dfe5;stroke-width:1}.axis{stroke:#9aa5b0;stroke-width:1}\n"
        ".phase{font-size:13px}.band{fill:#e9edf1}.band.odd{fill:#dfe5ea}\n"
        ".card{stroke:#c0262d;stroke-width:2;stroke-dasharray:7 4}.cardtext{fill:#c0262d;"
        "font-size:13px;font-weight:600}\n"
        ".mark{stroke:#1d2733;stroke-width:1.4;fill:none}.dot{fill:#1d2733;stroke:#fff;"
        "stroke-width:1.5}\n"
        ".peak{font-size:14px;font-weight:600}.small{font-size:12.5px}\n"
        ".num{font-size:12.5px;fill:#57626e}\n"
        "@media (prefers-color-scheme:dark){\n"
        "text{fill:#e6ebf0}.bg{fill:#12161b}.plate{fill:#12161b}.plot{fill:#181e25}\n"
        ".sub,.tick,.name,.num{fill:#9fabb7}.grid{stroke:#2b343e}.axis{stroke:#5d6975}\n"
        ".band{fill:#222a33}.band.odd{fill:#2a333d}.card{stroke:#ff6b6b}.cardtext{fill:#ff6b6b}\n"
        ".mark{stroke:#e6ebf0}.dot{fill:#e6ebf0;stroke:#12161b}}\n"
        "</style>\n");
}
