"""A campaign's report and dataset -> objects of an S3 static site.

``site`` says what belongs there, ``compare`` what the bucket lacks, ``bucket`` makes the calls.
Reads ``results/``, changes nothing in it; in the bucket nothing is ever deleted.
"""
