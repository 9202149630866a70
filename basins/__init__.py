"""When two trained networks reach the same loss, did they learn the same mechanism?"""
