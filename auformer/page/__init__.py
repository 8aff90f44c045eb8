"""The local page: videos beside their action units over time, in a browser, on this machine only.

`commands.page` starts it. The server (`server`) keeps uploads per user (`users`), lets one spawned process predict
(`jobs`, `worker`), reads predictions files (`results`), brings a second file beside one (`second`) and writes what is
downloaded with the functions of the commands (`downloads`). What the browser runs lies in `assets/page`; it computes
episodes as `auformer.episodes` does.

starlette and uvicorn serve it, and the page is plain HTML, CSS and JavaScript of our own. Gradio was weighed: it brings
some forty packages and a front end that is built elsewhere, reports usage unless it is told not to, and a timeline
drawn on a canvas in step with a video would have to be a component of our own in it all the same.
"""
