"""Embedding on Apache Beam: the pipeline that embeds what outgrows one machine, and the runners that carry it out."""
