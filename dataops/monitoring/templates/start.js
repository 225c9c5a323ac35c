const items = JSON.parse(document.getElementById("chart-data").textContent);
Bokeh.set_log_level("warn");
for (const item of items) Bokeh.embed.embed_item(item);
