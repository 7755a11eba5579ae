"""The form of run.json: what the record of a run holds, how it is read, checked and written.

Each class is an object of the file, or a part of its top (`base.checked.flat`). Keys only ever come
to be: what a version did not write yet is None or empty here. Nothing in it runs; what happens in a
run is put together by `launch.outcome.recorder`.
"""
